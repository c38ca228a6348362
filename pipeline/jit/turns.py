"""What is compiled for the first time on a machine: by one process, while the others wait; both say so.

The lock is `flock`'s, which a process that dies gives back. Where there are no such locks each process compiles.
"""

import fcntl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SILENCE = 2.0  # seconds after which something is said


def say(words: str) -> None:
    """A line on standard error."""
    print(words, file=sys.stderr, flush=True)


@contextmanager
def announced(begin_words: str, end_words: str) -> Iterator[None]:
    """Says `begin_words` once the block takes longer than `SILENCE`, and at its end `end_words` with the seconds."""
    begin = time.monotonic()
    timer = threading.Timer(SILENCE, say, [begin_words])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if time.monotonic() - begin > SILENCE:
        say(f"{end_words} in {time.monotonic() - begin:.0f} s")


@contextmanager
def in_turn(folder: Path, name: str) -> Iterator[None]:
    """Holds the lock of the function `name`, which lies in `folder`, for as long as it is looked up or compiled."""
    try:
        lock = open(folder / f"{name}.lock", "ab")  # noqa: SIM115 - the block below closes it
    except OSError:  # nothing can be written there
        yield
        return
    with lock:
        with suppress(OSError):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                words = f"waiting for another process, which compiles {name} for this machine"
                with announced(words, f"{name} was compiled by another process"):
                    fcntl.flock(lock, fcntl.LOCK_EX)
        yield
