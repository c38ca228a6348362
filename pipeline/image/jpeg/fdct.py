"""From pixels to the coefficients of a JPEG, with the integers of libjpeg-turbo's defaults: the same to the bit.

colour        RGB to YCbCr as JFIF has it (ITU-T T.871, section 7), in fixed point with 16 bits
downsampling  the mean of 2x2 chroma samples; halves are rounded down and up in turn
forward DCT   the accurate integer one ("islow"), after Loeffler, Ligtenberg and Moschytz (1989)
quantisation  to the nearest multiple, halves away from zero

It is the way back of `jpeg/idct.py`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from imagefeed.pipeline.image.jpeg.idct import (
    BLOCK,
    C0_298,
    C0_390,
    C0_541,
    C0_765,
    C0_899,
    C1_175,
    C1_501,
    C1_847,
    C1_961,
    C2_053,
    C2_562,
    C3_072,
    COARSE,
    FINE,
    STEP,
    Halves,
    fixed,
    transposed,
    weighed,
)
from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.simd import Vector, after, load

SCALE = 3  # bits that the forward DCT's results are too large by
HALF, CENTRE = 1 << 15, (128 << 16) + (1 << 15) - 1  # what rounds luma, and chroma around its middle
CENTRE_FACTORS = 375, 22457  # both of 16 bits; their product is CENTRE
RED, GREEN, BLUE = fixed(0.299, 16), fixed(0.587, 16), fixed(0.114, 16)  # of luma
QUARTER = fixed(0.25, 16)  # of green, which goes to another pair than the rest: a factor has 16 bits with its sign
CB_RED, CB_GREEN = -fixed(0.168735892, 16), -fixed(0.331264108, 16)
CR_GREEN, CR_BLUE = -fixed(0.418687589, 16), -fixed(0.081312411, 16)


def forward_dct(x: list[Vector], rows: bool) -> list[Vector]:
    """Eight coefficients from eight samples, in each lane, int16: of `rows`, or of the columns of what these gave."""
    drop = FINE - COARSE if rows else FINE + COARSE

    def rounded(sums: Halves) -> Vector:
        return Halves(sums.first + (1 << (drop - 1)), sums.second + (1 << (drop - 1))).dropped(drop)

    def scaled(lanes: Vector) -> Vector:
        return lanes << COARSE if rows else (lanes + (1 << (COARSE - 1))) >> COARSE

    add = [x[i] + x[7 - i] for i in range(4)]
    less = [x[i] - x[7 - i] for i in range(4)]
    sum03, sum12 = add[0] + add[3], add[1] + add[2]
    x2, x6 = weighed(add[0] - add[3], add[1] - add[2], (C0_541 + C0_765, C0_541), (C0_541, C0_541 - C1_847))
    both3, both4 = weighed(less[3] + less[1], less[2] + less[0], (C1_175 - C1_961, C1_175), (C1_175, C1_175 - C0_390))
    x1, x7 = weighed(less[0], less[3], (C1_501 - C0_899, -C0_899), (-C0_899, C0_298 - C0_899))
    x3, x5 = weighed(less[1], less[2], (C3_072 - C2_562, -C2_562), (-C2_562, C2_053 - C2_562))
    odd = [rounded(sums) for sums in (x1.plus(both4), x3.plus(both3), x5.plus(both4), x7.plus(both3))]
    even = [scaled(sum03 + sum12), rounded(x2), scaled(sum03 - sum12), rounded(x6)]
    return [lanes for pair in zip(even, odd, strict=True) for lanes in pair]


def quantised(lanes: Vector, quantisers: Vector, factors: Vector, shifts: Vector) -> Vector:
    """Coefficients divided by eight times their quantisers (1 to 255), see `reciprocals`: int16.

    As floor(n / 8q) = floor(floor(n / 8) / q), and floor(n / 8) is less than 2^14, the products are exact.
    """
    sign = (lanes >> 15 << 1) + 1
    whole = (lanes * sign + (quantisers << (SCALE - 1))) & -(1 << SCALE)
    return whole.high_product(factors, signed=False).high_product(shifts, signed=False) * sign


def reciprocals(quantisers: np.ndarray) -> np.ndarray:
    """What `quantised` multiplies with (int16 [2, ...]) for quantisers (int16, 1 to 255).

    With s the number of bits of q behind its first, floor(n / q) is n times the first, ceil(2^(15 + s) / q), without
    15 + s bits. Of these, n had 3 before, the products lose 16 each, and the second is 2^(14 - s).
    """
    wide = quantisers.astype(np.int64)
    bits = np.floor(np.log2(wide)).astype(np.int64)
    factors = -(-(1 << (15 + bits)) // wide)
    return np.stack([factors, 1 << (14 - bits)]).astype(np.uint16).view(np.int16)


@intrinsic
def forward_dct_pair(
    context: Any, left: Any, right: Any, stride: Any, quantisers: Any, coefficients: Any, marks: Any
) -> Any:
    """The coefficients of two blocks at once.

    left, right   addresses of the first sample (uint8) of each block, `stride` bytes from row to row
    quantisers    address of int16 [3, 8, 2, 8]: quantisers by row, block and column, and their `reciprocals`
    coefficients  address of as many int16, for the result
    marks         address of uint64 [2], for a bit a coefficient of each block: 1 where it is not 0; row by row, the
                  lowest first
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, stride, quantisers, coefficients, marks = arguments
        rows = []
        for _ in range(BLOCK):
            samples = load(builder, left, 8, 8).picked(range(16), load(builder, right, 8, 8))
            rows.append(samples.widened(16, signed=False) - 128)
            left, right = builder.add(left, stride), builder.add(right, stride)
        columns = transposed(forward_dct(transposed(rows), rows=True))
        word = ir.IntType(64)
        found = [word(0), word(0)]
        for y, lanes in enumerate(forward_dct(columns, rows=False)):
            by = (load(builder, after(builder, quantisers, 256 * part + 32 * y), 16, 16) for part in range(3))
            result = quantised(lanes, *by)
            result.store(after(builder, coefficients, 32 * y))
            some = builder.zext(builder.not_(result.equal_mask(0)), word)
            for block in range(2):
                row = builder.and_(builder.lshr(some, word(8 * block)), word(255))
                found[block] = builder.or_(found[block], builder.shl(row, word(8 * y)))
        for block in range(2):
            place = builder.inttoptr(after(builder, marks, 8 * block), word.as_pointer())
            builder.store(found[block], place, align=1)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


def luma_and_chroma(builder: Any, pixels: Any) -> tuple[Vector, Vector, Vector]:
    """Y, Cb and Cr, int16, of `STEP` RGB pixels at an address."""
    channels = load(builder, pixels, 8, 3 * STEP)
    red, green, blue = (channels.picked(range(channel, 3 * STEP, 3)).widened(16, signed=False) for channel in range(3))
    centre = red.filled(CENTRE_FACTORS[0])
    y1, cb1 = weighed(red, green, (RED, GREEN - QUARTER), (CB_RED, CB_GREEN))
    y2, cr1 = weighed(blue, green, (BLUE, QUARTER), (CR_BLUE, CR_GREEN))
    (cb2,) = weighed(blue + blue, centre, (1 << 14, CENTRE_FACTORS[1]))
    (cr2,) = weighed(red + red, centre, (1 << 14, CENTRE_FACTORS[1]))
    y1 = Halves(y1.first + HALF, y1.second + HALF)
    return y1.plus(y2).dropped(16), cb1.plus(cb2).dropped(16), cr1.plus(cr2).dropped(16)


def halved(above: Vector, below: Vector) -> Vector:
    """Half as many samples (int32) as two rows have."""
    return ((above + below).pair_sums((1, 1)) + [1, 2] * (STEP // 4)) >> 2


@intrinsic
def split_full(context: Any, pixels: Any, y: Any, cb: Any, cr: Any) -> Any:
    """Writes the samples of `STEP` RGB pixels, for 4:4:4. All arguments are addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for lanes, place in zip(luma_and_chroma(builder, arguments[0]), arguments[1:], strict=True):
            lanes.narrowed(8, 0, 255).store(place)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


@intrinsic
def split_halved(context: Any, above: Any, below: Any, y_above: Any, y_below: Any, cb: Any, cr: Any) -> Any:
    """Writes the samples of `STEP` RGB pixels in each of two rows, for 4:2:0. All arguments are addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        above, below, y_above, y_below, cb, cr = arguments
        first, second = luma_and_chroma(builder, above), luma_and_chroma(builder, below)
        first[0].narrowed(8, 0, 255).store(y_above)
        second[0].narrowed(8, 0, 255).store(y_below)
        halved(first[1], second[1]).narrowed(8, 0, 255).store(cb)
        halved(first[2], second[2]).narrowed(8, 0, 255).store(cr)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate
