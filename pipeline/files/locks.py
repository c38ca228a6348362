"""Locks between the processes of a machine, by `flock`: the kernel takes them back from a process that dies.

A lock belongs to an open file and is gone when the last descriptor of it is closed, and the last map of it too. A file
system without flock between processes (some network ones) will not do.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

POLL = 0.1  # seconds between two tries


def try_lock(file: IO | int, *, shared: bool = False) -> bool:
    """Locks an open file, or its descriptor, if that needs no waiting; returns whether it does now.

    Any number of processes may hold a `shared` lock at once. A lock that this descriptor holds already is changed.
    """
    try:
        fcntl.flock(file, _kind(shared) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_lock(file: IO | int, *, shared: bool = False) -> None:
    """As `try_lock`, but waits until it can have the lock."""
    fcntl.flock(file, _kind(shared))


@contextmanager
def exclusive(path: Path, refusal: str, patience: float = 0.0) -> Iterator[None]:
    """Holds the exclusive lock on `path`, a folder or a file, which is made, for the length of the block.

    Raises `RuntimeError` with the text `refusal` where another holds it, still after `patience` seconds.
    """
    with _opened(path) as descriptor:
        end = time.monotonic() + patience
        while not try_lock(descriptor):
            if time.monotonic() >= end:
                raise RuntimeError(refusal)
            time.sleep(POLL)
        yield


@contextmanager
def exclusive_in_turn(path: Path, notice: str) -> Iterator[None]:
    """Holds the exclusive lock on `path` as `exclusive` does, but waits for it, and says `notice` on standard error."""
    with _opened(path) as descriptor:
        if not try_lock(descriptor):
            print(notice, file=sys.stderr, flush=True)
            wait_lock(descriptor)
        yield


def _kind(shared: bool) -> int:
    return fcntl.LOCK_SH if shared else fcntl.LOCK_EX


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
