"""Resizing with antialiasing, for Numba code: each pass gives the pixels of Pillow's `resize(..., BILINEAR, box=...)`.

A triangle filter whose support widens with the reduction, so that no pixel of the window is passed over; when it
enlarges it is plain bilinear interpolation. Two passes, first over the rows, each in fixed point with 22 fractional
bits and rounded to 8 bits: the same bits on any processor. Rows come first because that pass runs over contiguous
memory and leaves fewer rows for the other one.
"""

import math

import numpy as np

from pipeline.compiled import njit

FRACTION_BITS = 22  # of a weight; an image's 8 bits and a carry leave room for the sign in 32
HALF = np.int32(1 << (FRACTION_BITS - 1))
ONE = float(1 << FRACTION_BITS)


@njit
def filter_weights(in_size: int, start: float, length: float, out_size: int) -> tuple[np.ndarray, np.ndarray]:
    """What each of `out_size` pixels is made of, where they cover `length` pixels of `in_size` from `start` on.

    Returns the first input pixel and the number of them (int32 [out_size, 2]), and their weights in units of
    2**-22 (int32 [out_size, most pixels]).
    """
    first, last = np.float32(start), np.float32(start + length)  # single precision, as in Pillow
    scale = float(last - first) / out_size
    widening = max(scale, 1.0)
    most = math.ceil(widening) * 2 + 1
    bounds = np.empty((out_size, 2), np.int32)
    weights = np.zeros((out_size, most), np.int32)
    exact = np.empty(most)
    for place in range(out_size):
        centre = float(first) + (place + 0.5) * scale
        low = max(0, int(centre - widening + 0.5))
        count = min(in_size, int(centre + widening + 0.5)) - low
        total = 0.0
        for tap in range(count):
            exact[tap] = max(0.0, 1.0 - abs((tap + low - centre + 0.5) / widening))
            total += exact[tap]
        for tap in range(count):
            weights[place, tap] = int(0.5 + exact[tap] / total * ONE)
        bounds[place, 0], bounds[place, 1] = low, count
    return bounds, weights


@njit
def resample(image: np.ndarray, window: np.ndarray, crop_first: bool, out: np.ndarray) -> None:
    """Resizes a window of `image` (uint8 [H, W, 3]) into `out` (uint8 [S, S', 3]).

    window      top, left, height and width in pixels of the image, float64, with fractions; within the image
    crop_first  nothing beyond the window, which has no fractions then, is looked at; otherwise the filter reaches
                beyond it, as if the image had been resized as a whole and then cropped
    """
    rows, columns = out.shape[0], out.shape[1]
    if crop_first:
        down, down_weights = filter_weights(int(window[2]), 0.0, window[2], rows)
        across, across_weights = filter_weights(int(window[3]), 0.0, window[3], columns)
        down[:, 0] += int(window[0])
        across[:, 0] += int(window[1])
    else:
        down, down_weights = filter_weights(image.shape[0], window[0], window[2], rows)
        across, across_weights = filter_weights(image.shape[1], window[1], window[3], columns)
    first = across[0, 0]
    across[:, 0] -= first
    used = 3 * (across[columns - 1, 0] + across[columns - 1, 1])
    strip, sums = np.empty(used, np.uint8), np.empty(used, np.int32)
    for y in range(rows):
        sums[:] = HALF
        for tap in range(down[y, 1]):
            weight = down_weights[y, tap]
            row = image[down[y, 0] + tap].reshape(-1)[3 * first : 3 * first + used]
            for x in range(used):
                sums[x] += row[x] * weight
        for x in range(used):
            strip[x] = min(max(sums[x] >> FRACTION_BITS, 0), 255)
        narrow_row(strip, across, across_weights, out[y].reshape(-1))


@njit
def narrow_row(row: np.ndarray, bounds: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Resizes one row of RGB pixels (uint8 [3 * width]) into `out` (uint8 [3 * columns])."""
    for x in range(len(bounds)):
        red, green, blue = HALF, HALF, HALF
        place = 3 * bounds[x, 0]
        for tap in range(bounds[x, 1]):
            weight = weights[x, tap]
            red += row[place] * weight
            green += row[place + 1] * weight
            blue += row[place + 2] * weight
            place += 3
        out[3 * x] = min(max(red >> FRACTION_BITS, 0), 255)
        out[3 * x + 1] = min(max(green >> FRACTION_BITS, 0), 255)
        out[3 * x + 2] = min(max(blue >> FRACTION_BITS, 0), 255)
