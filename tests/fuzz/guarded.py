"""Memory that ends at a page nobody may touch: one byte read or written too far kills the process, which is noticed."""

import ctypes
import mmap

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """`capacity` bytes before an unreadable page; never given back, so make few."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity + -capacity % mmap.PAGESIZE
        size = self.capacity + mmap.PAGESIZE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.address = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        assert _libc.mprotect(self.address + self.capacity, mmap.PAGESIZE, 0) == 0

    def last(self, size: int) -> np.ndarray:
        """The last `size` bytes before the guard, uint8 [size]."""
        memory = (ctypes.c_uint8 * size).from_address(self.address + self.capacity - size)
        return np.ctypeslib.as_array(memory)

    def holding(self, data: bytes) -> np.ndarray:
        """`data` flush against the guard."""
        array = self.last(len(data))
        array[:] = np.frombuffer(data, np.uint8)
        return array
