"""No process outlives the block that started it: no child, no grandchild, no daemon that left its parent."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from imagefeed.pipeline.runtime.parent import end_with_parent

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what a user or a closing terminal sends

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@contextmanager
def contained() -> Iterator[None]:
    """Kills every descendant of this process at the end of the block, however it ends; Linux only.

    An ENDING signal leaves the block with KeyboardInterrupt. Descendants whose parent has died count too: the
    kernel makes them children of this process. They are killed without a chance to tidy up, so what they write must
    bear that. Only for the main thread of a process that has no children yet.
    """
    if sys.platform != "linux":
        raise OSError("processes can be contained on Linux only")
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # What is ignored stays ignored: nohup, and a shell's background commands, count on it.
    heeded = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _leave) for number in heeded}
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)  # nothing may interrupt what follows
        _end_descendants()
        for number, handler in before.items():
            signal.signal(number, handler)


def start(
    command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, output: IO[bytes] | None = None
) -> "subprocess.Popen[bytes]":
    """Starts a command in `folder`, its output into a file where one is given.

    It has a session of its own: Ctrl-C reaches this process alone, which ends all others in its own order. Should
    this process be killed outright, the kernel sends the command SIGTERM.
    """
    return subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )


def descendants(ancestor: int) -> list[int]:
    """Ids of a process's children, their children and so on, ended ones that nobody waited for among them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = list(children.get(ancestor, []))
    for process in found:  # grows as it goes
        found += children.get(process, [])
    return found


def _end_descendants() -> None:
    while processes := descendants(os.getpid()):
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(0.02)


def _reap() -> None:
    """Waits for the children that have ended, so that none is left as a zombie."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:  # there is none
        return


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
