"""The part of the kernel that can be exchanged: from the bytes of a JPEG to pixels.

A decoder is a named tuple of what a thread needs for it; `jpeg_size` and `decode` are compiled for its type. Another
one adds its type and its two functions here, and `feed.Feed.bench` chooses.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from pipeline import native


class TurboJPEG(NamedTuple):
    """libjpeg-turbo, which every other loader calls."""

    handle: int  # of `native.tj_open`


@contextmanager
def turbo_jpeg() -> Iterator[TurboJPEG]:
    """A decoder for one thread at a time. Raises `MemoryError` where there is none to be had."""
    handle = native.tj_open()
    if handle == 0:
        raise MemoryError("libturbojpeg has no memory for a decoder")
    try:
        yield TurboJPEG(handle)
    finally:
        native.tj_close(handle)


def jpeg_size(decoder: Any, data: np.ndarray) -> tuple[int, int, int]:
    """What the JPEG `data` (uint8 [bytes]) says of itself: a state of `native`, height and width, for Numba code."""
    raise NotImplementedError("compiled by Numba: call it from a function under njit")


def decode(decoder: Any, data: np.ndarray, image: np.ndarray) -> int:
    """Decodes `data` into `image` (uint8 [H, W, 3], of the size that it has); a state of `native`. For Numba code."""
    raise NotImplementedError("compiled by Numba: call it from a function under njit")


@overload(jpeg_size, strict=False)
def size_with(decoder: types.Type, data: types.Type) -> Callable[..., tuple[int, int, int]] | None:
    if getattr(decoder, "instance_class", None) is not TurboJPEG:
        return None
    return lambda decoder, data: native.jpeg_size(decoder.handle, data)


@overload(decode, strict=False)
def decode_with(decoder: types.Type, data: types.Type, image: types.Type) -> Callable[..., int] | None:
    if getattr(decoder, "instance_class", None) is not TurboJPEG:
        return None
    return lambda decoder, data, image: native.decompress(decoder.handle, data, image)
