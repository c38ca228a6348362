"""The command `imagefeed`: each subcommand parses, calls one function and reports.

They stand in `cli_make.py` (what writes datasets) and `cli_look.py` (what looks at them).
"""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import tyro

app = tyro.extras.SubcommandApp()
CLI = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


def run_command(command: Callable[[], None]) -> None:
    """Runs a command as a user expects it: a known error is one line and status 1, Ctrl-C is status 130."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command()
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where this one stopped", file=sys.stderr)
        sys.exit(130)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """The console script."""
    from pipeline import cli_look, cli_make  # they register with `app`

    assert cli_make and cli_look
    run_command(lambda: app.cli(prog="imagefeed", description="Images into training shards.", config=CLI))
