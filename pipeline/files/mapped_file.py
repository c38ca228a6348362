"""A file's bytes as memory at an address, which costs no copy, and no file descriptor once it is open.

Python's own `mmap` keeps a descriptor for each map, and a thousand shards would be a thousand of them. Reading a map
beyond the end of a file that was cut short since, or where the disk fails, kills the process with SIGBUS; `readable`
asks the kernel first, which then says no instead.
"""

import ctypes
import mmap
import os
import weakref
from pathlib import Path

import numpy as np
from numba import types

from imagefeed.pipeline.files.locks import wait_lock
from imagefeed.pipeline.jit.clib import bind, libc
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.runtime.os_errors import doing, explained

MADV_POPULATE_READ = 22  # Linux 5.14: bring the pages in now, and fail where a read would
_mmap, _munmap = libc.mmap, libc.munmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_madvise = bind(libc, "madvise", types.int32, types.intp, types.uint64, types.int32)
_FAILED = ctypes.c_void_p(-1).value


class MappedFile:
    """The whole of a file, readable at `address` until this object is collected; `locked` (shared) as long, if asked.

    Raises `ValueError` where the file has not the size that is expected (bytes) or, where `modified_ns` is given, was
    written to at another time than that; `OSError` where it cannot be read.
    """

    def __init__(self, path: Path, size: int, modified_ns: int | None = None, *, locked: bool = False) -> None:
        with doing("read", path), open(path, "rb") as file:
            if locked:
                wait_lock(file, shared=True)  # Linux lets go of it with the map, not with the descriptor
            check_unchanged(path, os.fstat(file.fileno()), size, modified_ns)
            self.address = _mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        if self.address == _FAILED:
            raise explained(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())), "mapped", path)
        weakref.finalize(self, _munmap, self.address, size).atexit = False


def check_unchanged(path: Path, found: os.stat_result, size: int, modified_ns: int | None) -> None:
    """Raises `ValueError` where a file is not the one of `size` bytes, last written at `modified_ns`, that was known.

    `modified_ns` (nanoseconds since 1970) is None for a file that has been hashed, which proves more.
    """
    if found.st_size != size:
        raise ValueError(
            f"{path} has {found.st_size} bytes and not the {size} that were written: restore it, or convert or index "
            "the source again"
        )
    if modified_ns is not None and found.st_mtime_ns != modified_ns:
        raise ValueError(f"{path} was changed after it was indexed: open the dataset again, or restore the file")


@njit
def readable(address: int, size: int, page: int) -> bool:
    """Whether all of a mapped range can be read; its pages are in memory then. `page` is that of `page_to_ask`."""
    if page == 0:
        return True
    start = address - address % page
    return _madvise(start, address + size - start, MADV_POPULATE_READ) == 0


def page_to_ask() -> int:
    """The page size in bytes where the kernel can tell what is readable; 0 where it cannot (before Linux 5.14)."""
    probe = np.zeros(2 * mmap.PAGESIZE, np.uint8)
    inside = probe.ctypes.data + mmap.PAGESIZE
    return mmap.PAGESIZE if readable(inside, 1, mmap.PAGESIZE) else 0
