"""Crop, mirror, mean, colour, scale, type and layout in one write: each value of the output batch is stored once.

A value is `((pixel - mean) + colour) * scale` in float32, rounded once to the output's type; a uint8 output is the
pixel itself. Everything here is arithmetic on arrays, for Numba code; what to crop and which colour is decided in
`recipes.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from imagefeed.pipeline.image.jpeg.planes import Planes, pixel_row
from imagefeed.pipeline.jit.intrinsics import FLIP_PIXELS, finish, flip_block
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import array_at


class View(NamedTuple):
    """A crop of an image, and where the part of the mean image that belongs to it begins; pixels."""

    top: int
    left: int
    mirror: int  # 0 or 1
    mean_top: int
    mean_left: int


class RowBuffers(NamedTuple):
    """Memory of one thread for a row of a crop. S is the crop's side."""

    colour: np.ndarray  # float32 [3 * S]: what is added to R, G and B of the sample, repeated S times
    flipped: np.ndarray  # uint8 [3 * S]: a mirrored row


def new_row_buffers(size: int) -> RowBuffers:
    """Memory for crops of `size` pixels."""
    return RowBuffers(np.empty(3 * size, np.float32), np.empty(3 * size, np.uint8))


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


def window_row(source: Any, view: View, y: int, size: int, flipped: np.ndarray) -> np.ndarray:
    """Row `y` of a view, uint8 [3 * size]: a part of `source` itself or, mirrored, `flipped` (uint8 [3 * size]).

    `source` is an image (uint8 [H, W, 3]) or what `jpeg.decoder` makes rows from (`Planes`).
    """
    raise NotImplementedError("compiled by Numba: call it from a function under njit")


@overload(window_row, strict=False)
def choose_source(
    source: types.Type, view: types.Type, y: types.Type, size: types.Type, flipped: types.Type
) -> Callable[..., np.ndarray]:
    return image_row if isinstance(source, types.Array) else planes_row


def image_row(source: np.ndarray, view: View, y: int, size: int, flipped: np.ndarray) -> np.ndarray:
    """A row of an image."""
    return turned(source.ctypes.data + 3 * ((view.top + y) * source.shape[1] + view.left), view, size, flipped)


def planes_row(source: Planes, view: View, y: int, size: int, flipped: np.ndarray) -> np.ndarray:
    """A row that becomes RGB only now."""
    return turned(pixel_row(source, view.top + y, view.left, size, source.row.ctypes.data), view, size, flipped)


@njit
def turned(address: int, view: View, size: int, flipped: np.ndarray) -> np.ndarray:
    """The row of pixels at an address, mirrored if the view is."""
    row = array_at(address, 3 * size, flipped)
    if not view.mirror:
        return row
    mirrored = array_at(flipped.ctypes.data, 3 * size, flipped)
    flip_row(row, mirrored)
    return mirrored


def write_view(
    source: Any, view: View, buffers: RowBuffers, means: np.ndarray, scale: np.ndarray, out: np.ndarray
) -> None:
    """Writes one view of `source`, see `window_row`, to `out`, for Numba code.

    means  as `both_means` gives it, for the layout of `out`
    scale  float32 [3 * S]: the factor of each channel, repeated S times
    out    [S, 3 * S] for rows of RGB pixels or [3, S, S] for planes; of the types that `finish` knows

    The view must lie within the image and the mean: nothing is checked here.
    """
    raise NotImplementedError("compiled by Numba: call it from a function under njit")


@overload(write_view, strict=False)  # its arguments are types, not what is annotated above
def choose_layout(
    source: types.Type, view: types.Type, buffers: types.Type, means: types.Type, scale: types.Type, out: types.Array
) -> Callable[..., None]:
    if out.ndim == 3:
        return write_planes
    return write_pixels if out.dtype == types.uint8 else write_rows


def write_pixels(
    source: Any, view: View, buffers: RowBuffers, means: np.ndarray, scale: np.ndarray, out: np.ndarray
) -> None:
    """Rows of RGB pixels as they are."""
    size = out.shape[0]
    for y in range(size):
        pixels = window_row(source, view, y, size, buffers.flipped)
        row = array_at(out.ctypes.data + y * pixels.nbytes, 3 * size, out)
        for x in range(3 * size):
            row[x] = pixels[x]


def write_rows(
    source: Any, view: View, buffers: RowBuffers, means: np.ndarray, scale: np.ndarray, out: np.ndarray
) -> None:
    """Rows of RGB values."""
    size, colour = out.shape[0], buffers.colour
    first = means[view.mirror, view.mean_top, 3 * view.mean_left :]
    for y in range(size):
        pixels = window_row(source, view, y, size, buffers.flipped)
        mean = array_at(first.ctypes.data + y * means.strides[1], 3 * size, means)
        row = array_at(out.ctypes.data + y * out.strides[0], 3 * size, out)
        for x in range(3 * size):
            row[x] = finish(pixels[x], mean[x], colour[x], scale[x], out)


def write_planes(
    source: Any, view: View, buffers: RowBuffers, means: np.ndarray, scale: np.ndarray, out: np.ndarray
) -> None:
    """A plane a channel."""
    size = out.shape[1]
    first = means[view.mirror, 0, view.mean_top, view.mean_left :]
    for y in range(size):
        pixels = window_row(source, view, y, size, buffers.flipped)
        for channel in range(3):
            colour, factor = buffers.colour[channel], scale[channel]
            mean = array_at(first.ctypes.data + channel * means.strides[1] + y * means.strides[2], size, means)
            row = array_at(out.ctypes.data + channel * out.strides[0] + y * out.strides[1], size, out)
            for x in range(size):
                row[x] = finish(pixels[3 * x + channel], mean[x], colour, factor, out)


def both_means(mean_image: np.ndarray, planes: bool, mirrored: bool = True) -> np.ndarray:
    """A mean image (float32 [H, W, 3]) for views as they are and for mirrored ones, laid out as the output: float32
    [2, H, 3 * W] for rows of pixels, [2, 3, H, W] for planes.

    A mean of the whole stored image is `mirrored` with the pixels. To do that once, here, keeps the inner loop one run
    over contiguous memory.
    """
    pair = np.stack([mean_image, mean_image[:, ::-1] if mirrored else mean_image])
    if planes:
        return np.ascontiguousarray(pair.transpose(0, 3, 1, 2))
    return np.ascontiguousarray(pair).reshape(*pair.shape[:2], -1)
