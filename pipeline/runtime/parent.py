"""A process that ends with the one that started it, also where that one is killed and can tell nobody."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int | None = None) -> None:
    """From now on Linux sends this process SIGTERM when its parent ends; at once if it has. Elsewhere nothing happens.

    `parent` is the id of the process that started this one, for a caller who knows it: it may have ended before this
    call. To the kernel the parent is the very thread that started this process, so that one must live as long.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
