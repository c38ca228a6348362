"""Resizing with antialiasing, for Numba code: each pass gives the pixels of Pillow's `resize(..., box=...)`.

Two filters, Pillow's BILINEAR and BICUBIC: a triangle, and Keys' cubic ("Cubic convolution interpolation for digital
image processing", 1981) with a = -1/2. Their support widens with the reduction, so that every pixel of the window
counts. There are two passes, first over the rows, each in fixed point with 22 fractional
bits and rounded to 8 bits: the same bits on any processor. Rows come first because that pass runs over contiguous
memory and leaves fewer rows for the other one.
"""

import math
from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.image.jpeg.planes import Planes, no_planes, pixel_row
from imagefeed.pipeline.image.resample_simd import (
    BLOCK,
    FRACTION_BITS,
    HALF,
    PIXELS,
    TAPS,
    parts,
    weigh_pixels,
    weigh_rows,
)
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import address_of, array_at, copy_values

ONE = float(1 << FRACTION_BITS)
SHARPNESS = -0.5  # Keys' a


class Filter(NamedTuple):
    """What each of n pixels in a direction is made of."""

    first: np.ndarray  # int32 [n]: the first input pixel
    taps: np.ndarray  # int32 [n]: how many
    weights: np.ndarray  # int32 [n, most pixels], in units of 2**-22; 0 beyond the taps


@njit
def weight_at(distance: float, bicubic: bool) -> float:
    """What a pixel counts at a distance from the centre, in pixels of the coarser image; it is not normalized."""
    if not bicubic:
        return max(0.0, 1.0 - distance)
    if distance < 1.0:
        return ((SHARPNESS + 2.0) * distance - (SHARPNESS + 3.0)) * distance * distance + 1
    if distance < 2.0:
        return (((distance - 5) * distance + 8) * distance - 4) * SHARPNESS
    return 0.0


@njit
def filter_weights(
    in_size: int, start: float, length: float, out_size: int, bicubic: bool = False, offset: int = 0
) -> Filter:
    """The filter by which `out_size` pixels cover `length` pixels of `in_size` from `start` on.

    All these pixels lie behind `offset` others, from the first of which on the filter counts.
    """
    low_end, high_end = np.float32(start), np.float32(start + length)  # single precision, as in Pillow
    scale = float(high_end - low_end) / out_size
    widening = max(scale, 1.0)
    support = 2 * widening if bicubic else widening
    most = math.ceil(support) * 2 + 1
    first, counts = np.zeros(out_size, np.int32), np.zeros(out_size, np.int32)
    weights = np.zeros((out_size, most), np.int32)
    exact = np.empty(most)
    for made in range(out_size):
        centre = float(low_end) + (made + 0.5) * scale
        low = max(0, int(centre - support + 0.5))
        count = min(in_size, int(centre + support + 0.5)) - low
        total = 0.0
        for tap in range(count):
            exact[tap] = weight_at(abs((tap + low - centre + 0.5) / widening), bicubic)
            total += exact[tap]
        for tap in range(count):
            weights[made, tap] = int(math.copysign(0.5, exact[tap]) + exact[tap] / total * ONE)
        first[made], counts[made] = low + offset, count
    return Filter(first, counts, weights)


@njit
def filters(
    height: int, width: int, window: np.ndarray, crop_first: bool, rows: int, columns: int, bicubic: bool = False
) -> tuple[Filter, Filter]:
    """Down and across: how a window of an image of `height` x `width` becomes `rows` x `columns` pixels.

    window      top, left, height and width in pixels of the image, float64, with fractions; within the image
    crop_first  only pixels of the window, which has no fractions then, are used; otherwise the filter reaches beyond
                it, as if the image had been resized as a whole and then cropped
    """
    if not crop_first:
        down = filter_weights(height, window[0], window[2], rows, bicubic, 0)
        return down, filter_weights(width, window[1], window[3], columns, bicubic, 0)
    down = filter_weights(int(window[2]), 0.0, window[2], rows, bicubic, int(window[0]))
    return down, filter_weights(int(window[3]), 0.0, window[3], columns, bicubic, int(window[1]))


@njit
def reach(along: Filter) -> tuple[int, int]:
    """The input pixels that a filter uses: the first, and the one after the last."""
    return along.first[0], along.first[-1] + along.taps[-1]


@njit
def resample(image: np.ndarray, window: np.ndarray, crop_first: bool, out: np.ndarray, bicubic: bool = False) -> None:
    """Resizes a window of `image` (uint8 [H, W, 3]) into `out` (uint8 [S, S', 3]); `filters` says which."""
    down, across = filters(image.shape[0], image.shape[1], window, crop_first, out.shape[0], out.shape[1], bicubic)
    apply(image, down, across, out, no_planes())


@njit
def apply(image: np.ndarray, down: Filter, across: Filter, out: np.ndarray, planes: Planes) -> None:
    """Makes `out` (uint8 [S, S', 3]) of `image` (uint8 [H, W, 3], contiguous), which has `no_planes`.

    Of a JPEG that is decoded to `planes` the rows become RGB here, each when it is first needed: `image` is then their
    memory, with the space that `pixel_row` needs after it.
    """
    rows, columns = out.shape[0], out.shape[1]
    left, right = reach(across)
    used, stride = 3 * (right - left), 3 * image.shape[1]
    starts, weights = in_groups(across)
    row_weights = in_pairs(down)
    strip = np.empty(used + 3 * TAPS * weights.shape[1] + 4, np.uint8)  # a row, and zeros that are read with weight 0
    for x in range(used, strip.size):
        strip[x] = 0
    spare = np.empty(3 * starts.size, np.uint8)
    made = down.first[0]
    for y in range(rows):
        first, taps = down.first[y], down.taps[y]
        if planes.height > 0:
            for row in range(made, first + taps):
                pixel_row(planes, row, left, right - left, address_of(image) + row * stride + 3 * (left & ~1))
            made = max(made, first + taps)
        if used < BLOCK:
            weigh_few(image, left, first, taps, down.weights[y], strip[:used])
        else:
            source = image.ctypes.data + first * stride + 3 * left
            of_row = row_weights.ctypes.data + y * row_weights.strides[0]
            for x in range(0, used + BLOCK - 1, BLOCK):
                x = min(x, used - BLOCK)
                weigh_rows(source + x, stride, of_row, taps, strip.ctypes.data + x)
        # A group may end behind the row: where rows follow they are written over it, at the end there is no room.
        fits = 3 * (rows - y) * columns >= spare.size
        line = out.ctypes.data + 3 * y * columns if fits else spare.ctypes.data
        for group in range(len(starts)):
            weigh_pixels(
                strip.ctypes.data,
                starts.ctypes.data + group * starts.strides[0],
                weights.ctypes.data + group * weights.strides[0],
                weights.shape[1],
                line + 3 * PIXELS * group,
            )
        if not fits:
            copy_values(spare[: 3 * columns], array_at(address_of(out) + 3 * y * columns, 3 * columns, spare))


@njit
def in_pairs(down: Filter) -> np.ndarray:
    """A filter's weights for `weigh_rows`: int16 [n, pairs, 2, 2]."""
    rows, most = down.weights.shape
    weights = np.zeros((rows, (most + 1) // 2, 2, 2), np.int16)
    for y in range(rows):
        for tap in range(down.taps[y]):
            weights[y, tap // 2, 0, tap % 2], weights[y, tap // 2, 1, tap % 2] = parts(down.weights[y, tap])
    return weights


@njit
def in_groups(across: Filter) -> tuple[np.ndarray, np.ndarray]:
    """A filter for `weigh_pixels`: the first byte of each pixel in a row of what is reached (int32 [groups, PIXELS]),
    and the weights (int16 [groups, count, ...], see there)."""
    columns, most = len(across.first), 0
    for x in range(columns):
        most = max(most, int(across.taps[x]))
    groups, half = -(-columns // PIXELS), PIXELS // 2
    starts = np.zeros((groups, PIXELS), np.int32)
    weights = np.zeros((groups, -(-most // TAPS), half, TAPS // 2, 2, 2, 4, 2), np.int16)
    for x in range(columns):
        group, lane = x // PIXELS, x % PIXELS
        starts[group, lane] = 3 * (across.first[x] - across.first[0])
        for tap in range(across.taps[x]):
            high, low = parts(across.weights[x, tap])
            of_two = weights[group, tap // TAPS, lane % half, tap % TAPS // 2]
            for repetition in range(4):
                of_two[0, lane // half, repetition, tap % 2] = high
                of_two[1, lane // half, repetition, tap % 2] = low
    return starts, weights


@njit
def weigh_few(image: np.ndarray, left: int, first: int, taps: int, weights: np.ndarray, strip: np.ndarray) -> None:
    """The pass over the rows where they are shorter than a block."""
    for x in range(strip.size):
        total = HALF
        for tap in range(taps):
            total += image[first + tap, left + x // 3, x % 3] * weights[tap]
        strip[x] = min(max(total >> FRACTION_BITS, 0), 255)
