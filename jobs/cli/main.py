"""The command `imagefeed`: each subcommand parses, calls one function and prints.

They stand in `datasets.py` (what writes datasets), `inspect.py` (what looks at them), `kernels.py` and `predict.py`.
"""

import importlib.metadata
import platform
import sys
from typing import Any

from imagefeed.jobs.cli import datasets, inspect, kernels, predict  # they register with `app`, in the order of the help
from imagefeed.jobs.cli.app import app
from imagefeed.pipeline.runtime.command import CLI, run_command

SUBCOMMANDS = datasets, inspect, kernels, predict
HOW: dict[str, Any] = {
    "prog": "imagefeed",
    "description": """Images into training shards, and what looks at them.

imagefeed COMMAND --help explains one command; imagefeed --version says which version this is.""",
    "config": CLI,
}


def main() -> None:
    """The console script."""
    run_command(lambda: print(version()) if sys.argv[1:] == ["--version"] else app.cli(**HOW))


def version() -> str:
    """What is installed, and on which Python."""
    try:
        number = importlib.metadata.version("imagefeed")
    except importlib.metadata.PackageNotFoundError:
        number = "(a checkout that is not installed)"
    return f"imagefeed {number}, Python {platform.python_version()}"
