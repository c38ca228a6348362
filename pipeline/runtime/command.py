"""What all commands share: how options are spelled, and how a command ends."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tyro

from imagefeed.pipeline.runtime import signals
from imagefeed.pipeline.runtime.os_errors import one_line
from imagefeed.pipeline.runtime.parts import MissingPart, part

CLI = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)  # how options are spelled on every command line


def run_command(command: Callable[[], None]) -> None:
    """Runs a command as a user expects it: a known error is one line and status 1, Ctrl-C is status 130."""
    signals.listen()
    try:
        command()
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or signals.caught():  # what a library has made of it counts as well
            print("interrupted: the same command goes on where this one stopped", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, BrokenPipeError) and output_is_closed():  # by `head`, say, which has seen enough
            sys.exit(141)  # as a shell says it of a command that SIGPIPE has ended
        if isinstance(error, ValueError | OSError | RuntimeError | MissingPart):
            sys.exit(f"error: {one_line(error)}")
        raise


def output_is_closed() -> bool:
    """Whether standard output is a pipe that nobody reads any more. If so, what is still to be written is dropped."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


@contextmanager
def script_part(name: str) -> Iterator[None]:
    """As `part`, for the imports at the top of a script, which no `run_command` is around: one line and status 1."""
    try:
        with part(name):
            yield
    except MissingPart as error:
        sys.exit(f"error: {error}")
