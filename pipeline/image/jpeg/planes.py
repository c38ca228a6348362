"""The samples of a decoded JPEG, a plane a component, and the rows of RGB pixels that are made from them."""

from typing import NamedTuple

import numpy as np
from numba.np.numpy_support import carray

from imagefeed.pipeline.image.jpeg.idct import BLOCK, MARGIN, STEP, colour_full, colour_halved, inverse_dct_pair
from imagefeed.pipeline.jit.intrinsics import pointer
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import address_of, array_at, copy_values, unowned

PAIR = 2 * BLOCK * BLOCK  # coefficients that are transformed at once
WIDEST = 65535  # pixels


class Planes(NamedTuple):
    """A decoded image before it has colours; only the blocks that were wanted hold anything."""

    samples: np.ndarray  # uint8 [3, rows, stride]: column x at MARGIN + x
    row: np.ndarray  # uint8 [bytes], for one row of pixels
    halved: int  # 1 for 4:2:0, 0 for 4:4:4
    height: int  # pixels
    width: int


@njit
def padded(pixels: int, halved: int) -> int:
    """A side of an image with its last MCU in full, pixels."""
    side = BLOCK << halved
    return -(-pixels // side) * side


@njit
def bytes_needed(height: int, width: int, halved: int) -> int:
    """Of memory for the samples."""
    return 3 * padded(height, halved) * (padded(width, halved) + 2 * MARGIN)


@njit
def planes_in(memory: np.ndarray, row: np.ndarray, height: int, width: int, halved: int) -> Planes:
    """Where in `memory` (uint8 [bytes]) the samples of an image are, or will be. Both belong to the caller."""
    shape = (3, padded(height, halved), padded(width, halved) + 2 * MARGIN)
    return Planes(carray(pointer(memory.ctypes.data), shape, np.uint8), unowned(row), halved, height, width)


@njit
def no_planes() -> Planes:
    """What stands for the planes where there are pixels."""
    return Planes(carray(pointer(0), (3, 0, 0), np.uint8), carray(pointer(0), (0,), np.uint8), 0, 0, 0)


@njit
def transform(planes: Planes, row: int, column: int, coefficients: int, weights: int) -> int:
    """The samples of an MCU's blocks (T.81, A.2.3), from its coefficients: addresses, see `inverse_dct_pair`. Returns 0
    where all are sound."""
    plane, stride = planes.samples.strides[0], planes.samples.strides[1]
    here = planes.samples.ctypes.data + BLOCK * (row * stride + column) + MARGIN
    cb, cr = here + plane, here + 2 * plane
    if planes.halved:
        luma = here + BLOCK * (row * stride + column)
        beyond = inverse_dct_pair(coefficients, weights, luma, luma + BLOCK, stride)
        luma += BLOCK * stride
        beyond |= inverse_dct_pair(coefficients + 2 * PAIR, weights + 2 * PAIR, luma, luma + BLOCK, stride)
        beyond |= inverse_dct_pair(coefficients + 4 * PAIR, weights + 4 * PAIR, cb, cr, stride)
    else:
        beyond = inverse_dct_pair(coefficients, weights, here, cb, stride)
        beyond |= inverse_dct_pair(coefficients + 2 * PAIR, weights + 2 * PAIR, cr, cr, stride)
    return beyond


@njit
def replicate(planes: Planes, first: int, last: int) -> None:
    """Gives the halved chroma rows from `first` to before `last` a neighbour at either end, equal to the outermost."""
    width = (planes.width + 1) // 2
    for plane in range(1, 3):
        for y in range(first, last):
            planes.samples[plane, y, MARGIN - 1] = planes.samples[plane, y, MARGIN]
            planes.samples[plane, y, MARGIN + width] = planes.samples[plane, y, MARGIN + width - 1]


@njit
def pixel_row(planes: Planes, y: int, left: int, count: int, out: int) -> int:
    """Makes `count` pixels of row `y`, from column `left` on; returns the address of the first.

    What is written to the address `out` begins with column `left & ~1` and ends less than `STEP` pixels behind them.
    """
    samples, halved = planes.samples, planes.halved
    stride, plane = samples.strides[1], samples.strides[0]
    begin = left & ~1
    luma = samples.ctypes.data + y * stride + MARGIN + begin
    line, shift = (y >> 1, begin >> 1) if halved else (y, begin)
    near = samples.ctypes.data + plane + line * stride + MARGIN + shift
    far = near
    if halved:
        beside = line + 1 if y & 1 else line - 1
        beside = min(max(beside, 0), (planes.height - 1) >> 1)
        far = near + (beside - line) * stride
    for x in range(0, count + left - begin, STEP):
        if halved:
            half = x >> 1
            colour_halved(luma + x, near + half, far + half, near + plane + half, far + plane + half, out + 3 * x)
        else:
            colour_full(luma + x, near + x, near + plane + x, out + 3 * x)
    return out + 3 * (left - begin)


@njit
def paint(planes: Planes, image: np.ndarray) -> None:
    """Makes all pixels: `image` is uint8 [height, width, 3]."""
    height, width = planes.height, planes.width
    whole = width + -width % STEP
    for y in range(height):
        if (height - y) * width >= whole:  # what is written behind the row is written over
            pixel_row(planes, y, 0, width, address_of(image) + 3 * y * width)
            continue
        pixels = array_at(pixel_row(planes, y, 0, width, address_of(planes.row)), 3 * width, planes.row)
        copy_values(pixels, array_at(address_of(image) + 3 * y * width, 3 * width, planes.row))
