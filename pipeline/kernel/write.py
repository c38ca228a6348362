"""Crop, mirror, mean, colour, scale, type and layout in one write: each value of the output batch is stored once.

A value is `((pixel - mean) + colour) * scale` in float32, rounded once to the output's type; a uint8 output is the
pixel itself. Everything here is arithmetic on arrays, for Numba code; what to crop and which colour is decided in
`recipes.py`.
"""

from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.image.jpeg.planes import Planes, no_planes, pixel_row
from imagefeed.pipeline.jit.intrinsics import FLIP_PIXELS, finish, flip_block
from imagefeed.pipeline.jit.njit import inlined_njit, njit
from imagefeed.pipeline.jit.views import address_of, array_at

UINT8, FLOAT16, BFLOAT16, FLOAT32 = range(4)  # types of values
# An array of each, see `finish`.
KINDS = np.empty(0, np.uint8), np.empty(0, np.int16), np.empty(0, np.uint16), np.empty(0, np.float32)


class Source(NamedTuple):
    """Where rows of pixels come from: an image in memory, or what they are made of when they are needed."""

    address: int  # of the first pixel of an image (uint8 [H, W, 3])
    width: int  # pixels
    planes: Planes  # `no_planes` where there is an image


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


@njit
def image_source(image: np.ndarray) -> Source:
    """An image (uint8 [H, W, 3], contiguous) as a source. The caller holds it."""
    return Source(address_of(image), image.shape[1], no_planes())


@inlined_njit
def view_row(source: Source, view: View, y: int, size: int, flipped: np.ndarray) -> int:
    """The address of row `y` of a view, uint8 [3 * size]: in the source itself or, mirrored, in `flipped`."""
    planes = source.planes
    if planes.height > 0:
        address = pixel_row(planes, view.top + y, view.left, size, address_of(planes.row))
    else:
        address = source.address + 3 * ((view.top + y) * source.width + view.left)
    if not view.mirror:
        return address
    flip_row(array_at(address, 3 * size, flipped), flipped)
    return address_of(flipped)


@njit
def write_view(
    source: Source,
    view: View,
    buffers: RowBuffers,
    means: np.ndarray,
    scale: np.ndarray,
    out: int,
    kind: int,
    planes_first: bool,
) -> None:
    """Writes one view of `source` to the address `out`: [S, S, 3], or [3, S, S] with `planes_first`.

    means  as `both_means` gives it, for this layout
    scale  float32 [3 * S]: the factor of each channel, repeated S times
    kind   of the values, `UINT8` to `FLOAT32`

    The view must lie within the image and the mean: nothing is checked here.
    """
    size, mean_row, mean_plane = scale.size // 3, 3 * means.shape[2], 0
    mean = address_of(means) + view.mirror * means.strides[0]
    if planes_first:
        mean_row, mean_plane = means.shape[3], means.strides[1]
        mean += 4 * (view.mean_top * mean_row + view.mean_left)
    else:
        mean += 4 * (view.mean_top * mean_row + 3 * view.mean_left)
    width = 1 if kind == UINT8 else 4 if kind == FLOAT32 else 2  # of a value, bytes
    for y in range(size):
        pixels = view_row(source, view, y, size, buffers.flipped)
        if planes_first:
            for channel in range(3):
                write_channel(
                    array_at(pixels + channel, 3 * size - channel, buffers.flipped),
                    array_at(mean + channel * mean_plane + 4 * y * mean_row, size, scale),
                    buffers.colour[channel],
                    scale[channel],
                    out + width * size * (channel * size + y),
                    kind,
                )
        else:
            row = array_at(pixels, 3 * size, buffers.flipped)
            mean_values = array_at(mean + 4 * y * mean_row, 3 * size, scale)
            write_row(row, mean_values, buffers.colour, scale, out + width * 3 * size * y, kind)


@inlined_njit
def write_row(pixels: np.ndarray, mean: np.ndarray, colour: np.ndarray, scale: np.ndarray, out: int, kind: int) -> None:
    """Writes n values of a row (`pixels` uint8 [n], the others float32 [n]) to an address."""
    if kind == UINT8:
        write_values(pixels, mean, colour, scale, array_at(out, pixels.size, KINDS[UINT8]))
    elif kind == FLOAT16:
        write_values(pixels, mean, colour, scale, array_at(out, pixels.size, KINDS[FLOAT16]))
    elif kind == BFLOAT16:
        write_values(pixels, mean, colour, scale, array_at(out, pixels.size, KINDS[BFLOAT16]))
    else:
        write_values(pixels, mean, colour, scale, array_at(out, pixels.size, KINDS[FLOAT32]))


@njit
def write_values(pixels: np.ndarray, mean: np.ndarray, colour: np.ndarray, scale: np.ndarray, row: np.ndarray) -> None:
    """The values of a row, of the type of `row`."""
    for x in range(row.size):
        row[x] = finish(pixels[x], mean[x], colour[x], scale[x], row)


@inlined_njit
def write_channel(pixels: np.ndarray, mean: np.ndarray, colour: float, factor: float, out: int, kind: int) -> None:
    """Writes one channel of n pixels, every third of `pixels` (uint8), to an address; `mean` is float32 [n]."""
    if kind == UINT8:
        write_thirds(pixels, mean, colour, factor, array_at(out, mean.size, KINDS[UINT8]))
    elif kind == FLOAT16:
        write_thirds(pixels, mean, colour, factor, array_at(out, mean.size, KINDS[FLOAT16]))
    elif kind == BFLOAT16:
        write_thirds(pixels, mean, colour, factor, array_at(out, mean.size, KINDS[BFLOAT16]))
    else:
        write_thirds(pixels, mean, colour, factor, array_at(out, mean.size, KINDS[FLOAT32]))


@njit
def write_thirds(pixels: np.ndarray, mean: np.ndarray, colour: float, factor: float, row: np.ndarray) -> None:
    """The values of one channel, of the type of `row`."""
    for x in range(row.size):
        row[x] = finish(pixels[3 * x], mean[x], colour, factor, row)


def both_means(mean_image: np.ndarray, planes_first: bool, mirrored: bool = True) -> np.ndarray:
    """A mean image (float32 [H, W, 3]) for views as they are and for mirrored ones, laid out as the output: float32
    [2, H, W, 3], or [2, 3, H, W] with `planes_first`.

    A mean of the whole stored image is `mirrored` with the pixels. To do that once, here, keeps the inner loop one run
    over contiguous memory.
    """
    pair = np.stack([mean_image, mean_image[:, ::-1] if mirrored else mean_image])
    return np.ascontiguousarray(pair.transpose(0, 3, 1, 2) if planes_first else pair)
