"""A user's transform as the kernel calls it: by address, so that one compiled kernel serves all of them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.core.dispatcher import Dispatcher

from imagefeed.pipeline.jit.views import bytes_at

Transform = Callable[..., Any] | None
"""Compiled by Numba: `transform(image, seed, epoch, sample_id, turn)` changes the pixels of one crop (uint8 [S, S, 3])
in place, before it is mirrored and its mean subtracted. Any other function: see `loader.transformed`."""

NO_TRANSFORM = 0
KEPT = 32  # compiled transforms of this process


class Entry(NamedTuple):
    """Where compiled code begins, and what keeps it there."""

    address: int
    code: object


def is_compiled(transform: Transform) -> bool:
    """Whether Numba compiled it."""
    return isinstance(transform, Dispatcher)


def entry_of(transform: Transform) -> Entry:
    """What `call_transform` needs of a transform that Numba compiled, or of none.

    A transform is compiled once in a process, and kept on disk where it says `@njit(cache=True)`.
    """
    return compiled_entry(transform) if is_compiled(transform) else Entry(NO_TRANSFORM, None)


@lru_cache(KEPT)
def compiled_entry(transform: Any) -> Entry:
    """`entry_of` a transform that Numba compiled. Raises Numba's own errors where it cannot be compiled."""

    def entry(image: int, side: int, seed: int, epoch: int, sample_id: int, turn: int) -> int:
        crop = bytes_at(image, 3 * side * side).reshape(side, side, 3)
        try:  # an exception cannot pass through a C function
            transform(crop, np.uint64(seed), epoch, sample_id, turn)
        except Exception:
            return 1
        return 0

    code: Any = numba.cfunc(types.int64(*[types.int64] * 6))(entry)
    return Entry(code.address, code)
