"""The command `imagefeed`: each subcommand parses, calls one function and reports.

They stand in `cli_make.py` (what writes datasets) and `cli_look.py` (what looks at them).
"""

import sys
from collections.abc import Callable

import tyro

from pipeline import interrupt

app = tyro.extras.SubcommandApp()
CLI = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


def run_command(command: Callable[[], None]) -> None:
    """Runs a command as a user expects it: a known error is one line and status 1, Ctrl-C is status 130."""
    interrupt.listen()
    try:
        command()
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or interrupt.caught():  # what a library has made of it counts as well
            print("interrupted: the same command goes on where this one stopped", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, ValueError | OSError | RuntimeError):
            sys.exit(f"error: {error}")
        raise


def commands() -> None:
    """Runs the subcommand that the command line names."""
    from pipeline import cli_look, cli_make  # they register with `app`

    assert cli_make and cli_look
    app.cli(prog="imagefeed", description="Images into training shards.", config=CLI)


def main() -> None:
    """The console script."""
    run_command(commands)
