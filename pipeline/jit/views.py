"""Memory by its address, for Numba code: arrays that own nothing.

To slice an array in a loop, or to give it to a function, makes Numba count its owners, atomically; that can cost more
than the work itself.
"""

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from imagefeed.pipeline.jit.intrinsics import pointer
from imagefeed.pipeline.jit.njit import njit


@njit
def address_of(array: np.ndarray) -> Any:
    """Where the values of an array begin, as a signed number: Numba's own is not, and mixed they become floats."""
    return np.int64(array.ctypes.data)


@njit
def array_at(address: int, size: int, like: np.ndarray) -> np.ndarray:
    """`size` values of the type of `like` at an address."""
    return carray(pointer(address), (size,), like.dtype)


@njit
def copy_values(source: np.ndarray, target: np.ndarray) -> None:
    """The values of `source` ([n]) as the first of `target` ([n or more]), of which none lies in `source`.

    For an assignment to a slice Numba compiles what joins the words of an error message, which takes it a second.
    """
    for i in range(source.size):
        target[i] = source[i]


@njit
def unowned(array: np.ndarray) -> np.ndarray:
    """The same contiguous array. The caller keeps the owner alive."""
    return carray(pointer(array.ctypes.data), array.shape, array.dtype)


@njit
def bytes_at(address: int, size: int) -> np.ndarray:
    """The bytes in memory at `address` as an array (uint8 [size]) without a copy. They are trusted to be there."""
    return carray(pointer(address), (size,), np.uint8)
