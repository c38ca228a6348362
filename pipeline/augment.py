"""Crop, mirror, colour, mean, type and layout in one write: each value of the output batch is stored once.

A value is `(pixel - mean) + colour` in float32, rounded once to the output's type; a uint8 output is the pixel itself.
Everything here is arithmetic on arrays, for Numba code; what to crop and which colour come from `recipes.py`.
"""

from collections.abc import Callable

import numpy as np
from numba.extending import overload

from pipeline.compiled import njit
from pipeline.intrinsics import FLIP_PIXELS, finish, flip_block


@njit
def flip_row(source: np.ndarray, target: np.ndarray) -> None:
    """Mirrors a row of RGB pixels (uint8 [3 * width]) into `target`, several times as fast as a loop over pixels."""
    width = source.size // 3
    shuffled = width - width % FLIP_PIXELS
    for x in range(0, shuffled, FLIP_PIXELS):
        flip_block(source.ctypes.data + 3 * (width - FLIP_PIXELS - x), target.ctypes.data + 3 * x)
    for x in range(shuffled, width):
        for channel in range(3):
            target[3 * x + channel] = source[3 * (width - 1 - x) + channel]


@njit
def window_row(image: np.ndarray, view: np.ndarray, y: int, size: int, spare: np.ndarray) -> np.ndarray:
    """Row `y` of a view, uint8 [3 * size]: a part of `image` itself or, mirrored, `spare` (uint8 [3 * size])."""
    left = 3 * view[1]
    row = image[view[0] + y].reshape(-1)[left : left + 3 * size]
    if not view[2]:
        return row
    flip_row(row, spare)
    return spare


def write_view(
    image: np.ndarray, view: np.ndarray, tint: np.ndarray, means: np.ndarray, spare: np.ndarray, out: np.ndarray
) -> None:
    """Writes one view (int32 [3]: top, left, mirror) of `image` (uint8 [H, W, 3]) to `out`, for Numba code.

    out    [S, 3 * S] for rows of RGB pixels or [3, S, S] for planes; of the types that `finish` knows
    tint   float32 [3 * S]: the sample's colour (R, G, B), repeated S times
    means  as `both_means` gives it, for the layout of `out`
    spare  uint8 [3 * S], memory of the thread

    The view must lie within the image: nothing is checked here.
    """
    raise NotImplementedError("compiled by Numba: call it from a function under njit")


@overload(write_view)
def choose_layout(
    image: np.ndarray, view: np.ndarray, tint: np.ndarray, means: np.ndarray, spare: np.ndarray, out: np.ndarray
) -> Callable[..., None]:
    return write_planes if out.ndim == 3 else write_rows


def write_rows(
    image: np.ndarray, view: np.ndarray, tint: np.ndarray, means: np.ndarray, spare: np.ndarray, out: np.ndarray
) -> None:
    size = out.shape[0]
    left = mean_left(image, view, size)
    for y in range(size):
        pixels, row = window_row(image, view, y, size, spare), out[y]
        mean = means[view[2], view[0] + y, 3 * left : 3 * (left + size)]
        for x in range(3 * size):
            row[x] = finish(pixels[x], mean[x], tint[x], out)


def write_planes(
    image: np.ndarray, view: np.ndarray, tint: np.ndarray, means: np.ndarray, spare: np.ndarray, out: np.ndarray
) -> None:
    size = out.shape[1]
    left = mean_left(image, view, size)
    for y in range(size):
        pixels = window_row(image, view, y, size, spare)
        for channel in range(3):
            row, colour = out[channel, y], tint[channel]
            mean = means[view[2], channel, view[0] + y, left : left + size]
            for x in range(size):
                row[x] = finish(pixels[3 * x + channel], mean[x], colour, out)


@njit
def mean_left(image: np.ndarray, view: np.ndarray, size: int) -> int:
    """Where a view begins in the mean image, which is mirrored as a whole for a mirrored view."""
    return image.shape[1] - size - view[1] if view[2] else view[1]


def both_means(mean_image: np.ndarray, planes: bool) -> np.ndarray:
    """A mean image (float32 [H, W, 3]) and its mirror image, laid out as the output: float32 [2, H, 3 * W] for rows
    of pixels, [2, 3, H, W] for planes.

    The mean belongs to the place in the stored image, so it is mirrored with the pixels. Doing that once here keeps
    the inner loop one run over contiguous memory.
    """
    pair = np.stack([mean_image, mean_image[:, ::-1]])
    if planes:
        return np.ascontiguousarray(pair.transpose(0, 3, 1, 2))
    return pair.reshape(*pair.shape[:2], -1)
