"""The command `imagefeed`: each subcommand parses, calls one function and prints.

They stand in `datasets.py` (what writes datasets), `inspect.py` (what looks at them), `kernels.py` and `predict.py`.
"""

from imagefeed.jobs.cli import datasets, inspect, kernels, predict  # they register with `app`, in the order of the help
from imagefeed.jobs.cli.app import app
from imagefeed.pipeline.runtime.command import CLI, run_command

SUBCOMMANDS = datasets, inspect, kernels, predict


def main() -> None:
    """The console script."""
    run_command(lambda: app.cli(prog="imagefeed", description="Images into training shards.", config=CLI))
