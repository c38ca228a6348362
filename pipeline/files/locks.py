"""Locks between the processes of a machine, by `flock`: the kernel takes them back from a process that dies.

A lock belongs to an open file and is gone when the last descriptor of it is closed, and the last map of it too. On a
file system without flock (Lustre and NFS without that option of their mounts) the locks that one process holds alone
are the signs of life of `lease.py` instead; those on single files, `try_lock` and `wait_lock`, are an `OSError`.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import IO

from imagefeed.pipeline.files.lease import lease_here
from imagefeed.pipeline.runtime.os_errors import NO_LOCKS, explained

NO_LOCKS_CURE = "that file system has no locks: mount it with them (flock), or name a folder on another disk"
POLL = 0.1  # seconds between two tries


def try_lock(file: IO | int, *, shared: bool = False) -> bool:
    """Locks an open file, or its descriptor, if that needs no waiting; returns whether it is locked now.

    Any number of processes may hold a `shared` lock at once. A lock that this descriptor holds already is changed.
    """
    try:
        _flock(file, _kind(shared) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_lock(file: IO | int, *, shared: bool = False) -> None:
    """As `try_lock`, but waits until it can have the lock."""
    _flock(file, _kind(shared))


@contextmanager
def exclusive(path: Path, refusal: str, patience: float = 0.0) -> Iterator[Callable[[], None]]:
    """Holds the exclusive lock on `path`, a folder or a file, which is made, for the length of the block.

    Yields what raises `RuntimeError` if another has it all the same, which only signs of life allow. Raises
    `RuntimeError` with the text `refusal` where another holds it, still after `patience` seconds.
    """
    with _opened(path) as descriptor:
        end = time.monotonic() + patience
        locked = _first_try(descriptor)
        if locked is not None:
            while not locked:
                if time.monotonic() >= end:
                    raise RuntimeError(refusal)
                time.sleep(POLL)
                locked = try_lock(descriptor)
            yield _nobody_can_take_it
            return
    with lease_here(path, refusal, patience) as check:
        yield check


@contextmanager
def exclusive_in_turn(path: Path, notice: str) -> Iterator[None]:
    """Holds the exclusive lock on `path` as `exclusive` does, but waits for it, and says `notice` on standard error."""
    with _opened(path) as descriptor:
        locked = _first_try(descriptor)
        if locked is not None:
            if not locked:
                print(notice, file=sys.stderr, flush=True)
                wait_lock(descriptor)
            yield
            return
    with lease_here(path, notice, inf):
        yield


def _first_try(descriptor: int) -> bool | None:
    """As `try_lock`; None where the file system has no locks."""
    try:
        return try_lock(descriptor)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None


def _nobody_can_take_it() -> None:
    """Stands for the check of a lock that the kernel keeps."""


def _flock(file: IO | int, kind: int) -> None:
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        raise
    except OSError as error:
        where = file if isinstance(file, int) else file.fileno()
        raise explained(error, "locked", where, NO_LOCKS_CURE if error.errno in NO_LOCKS else "") from error


def _kind(shared: bool) -> int:
    return fcntl.LOCK_SH if shared else fcntl.LOCK_EX


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
