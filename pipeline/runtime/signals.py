"""Ctrl-C and SIGTERM that are not lost: Python swallows an exception that a signal raises within a finaliser."""

import signal
from types import FrameType
from typing import NoReturn

_signals: list[int] = []  # that were caught; signals belong to the process, and so does this
_listening = False


def listen() -> None:
    """From now on both signals raise KeyboardInterrupt, and `check` knows of them."""
    global _listening
    _listening = True
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _caught)


def listen_again() -> None:
    """The same once more after a library has put handlers of its own in the way; nothing where nobody listened."""
    if _listening:
        listen()


def caught() -> bool:
    """Whether there was one of the signals."""
    return bool(_signals)


def check() -> None:
    """For loops of long runs: raises KeyboardInterrupt where an earlier one came to nothing."""
    if caught():
        raise KeyboardInterrupt


def _caught(number: int, frame: FrameType | None) -> NoReturn:
    _signals.append(number)
    raise KeyboardInterrupt
