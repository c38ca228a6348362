"""From pixels to the coefficients of a JPEG, with the integers of libjpeg-turbo's defaults: the same to the bit.

colour        RGB to YCbCr as JFIF has it (ITU-T T.871, section 7), in fixed point with 16 bits
downsampling  the mean of 2x2 chroma samples; halves are rounded down and up in turn
forward DCT   the accurate integer one ("islow"), after Loeffler, Ligtenberg and Moschytz (1989)
quantisation  to the nearest multiple, halves away from zero

It is the way back of `jpeg/pixels.py`.
"""

from typing import Any

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
    fixed,
    transposed,
)
from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.simd import Vector, after, load

RECIPROCAL = 20  # bits behind the point of a quantiser's reciprocal: its quotients are exact, see `quantised`
SCALE = 3  # bits that the forward DCT's results are too large by
LUMA = fixed(0.299, 16), fixed(0.587, 16), fixed(0.114, 16)
CB = -fixed(0.168735892, 16), -fixed(0.331264108, 16), fixed(0.5, 16)
CR = fixed(0.5, 16), -fixed(0.418687589, 16), -fixed(0.081312411, 16)
CENTRE = (128 << 16) + (1 << 15)  # of chroma, with the half that rounds


def rounded(lanes: Vector, drop: int) -> Vector:
    """Without its `drop` last bits, to the nearest."""
    return (lanes + (1 << (drop - 1))) >> drop


def forward_dct(x: list[Vector], rows: bool) -> list[Vector]:
    """Eight coefficients from eight samples, in each lane, int32: of `rows`, or of the columns of what these gave."""
    drop = FINE - COARSE if rows else FINE + COARSE
    add = [x[i] + x[7 - i] for i in range(4)]
    less = [x[i] - x[7 - i] for i in range(4)]
    sum03, sum12 = add[0] + add[3], add[1] + add[2]
    less03, less12 = add[0] - add[3], add[1] - add[2]
    even = (less12 + less03) * C0_541
    low, high = sum03 + sum12, sum03 - sum12
    z1, z2, z3, z4 = less[3] + less[0], less[2] + less[1], less[3] + less[1], less[2] + less[0]
    z5 = (z3 + z4) * C1_175
    z1, z2, z3, z4 = z1 * -C0_899, z2 * -C2_562, z3 * -C1_961 + z5, z4 * -C0_390 + z5
    return [
        low << COARSE if rows else rounded(low, COARSE),
        rounded(less[0] * C1_501 + z1 + z4, drop),
        rounded(even + less03 * C0_765, drop),
        rounded(less[1] * C3_072 + z2 + z3, drop),
        high << COARSE if rows else rounded(high, COARSE),
        rounded(less[2] * C2_053 + z2 + z4, drop),
        rounded(even - less12 * C1_847, drop),
        rounded(less[3] * C0_298 + z1 + z3, drop),
    ]


def quantised(lanes: Vector, quantisers: Vector, reciprocals: Vector) -> Vector:
    """Coefficients divided by eight times their quantisers (1 to 255), which `reciprocals` belong to, int16.

    As floor(n / 8q) = floor(floor(n / 8) / q), and floor(n / 8) is less than 2^12, the product is exact.
    """
    sign = (lanes >> 31 << 1) + 1
    quotients = (lanes * sign + (quantisers << (SCALE - 1))) >> SCALE
    return (((quotients * reciprocals) >> RECIPROCAL) * sign).narrowed(16, -32768, 32767)


@intrinsic
def forward_dct_pair(
    context: Any, left: Any, right: Any, stride: Any, quantisers: Any, reciprocals: Any, coefficients: Any, marks: Any
) -> Any:
    """The coefficients of two blocks at once.

    left, right   addresses of the first sample (uint8) of each block, `stride` bytes from row to row
    quantisers    address of int16 [8, 2, 8]: row, block, column
    reciprocals   address of as many int32, see `RECIPROCAL`
    coefficients  address of as many int16, for the result
    marks         address of uint64 [2], for a bit a coefficient of each block: 1 where it is not 0; row by row, the
                  lowest first
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, stride, quantisers, reciprocals, coefficients, marks = arguments
        rows = []
        for _ in range(BLOCK):
            samples = load(builder, left, 8, 8).picked(range(16), load(builder, right, 8, 8))
            rows.append(samples.widened(32, signed=False) - 128)
            left, right = builder.add(left, stride), builder.add(right, stride)
        columns = transposed(forward_dct(transposed(rows), rows=True))
        word = ir.IntType(64)
        found = [word(0), word(0)]
        for y, lanes in enumerate(forward_dct(columns, rows=False)):
            by = load(builder, after(builder, quantisers, 32 * y), 16, 16).widened(32)
            result = quantised(lanes, by, load(builder, after(builder, reciprocals, 64 * y), 32, 16))
            result.store(after(builder, coefficients, 32 * y))
            some = builder.zext(builder.not_(result.equal_mask(0)), word)
            for block in range(2):
                row = builder.and_(builder.lshr(some, word(8 * block)), word(255))
                found[block] = builder.or_(found[block], builder.shl(row, word(8 * y)))
        for block in range(2):
            place = builder.inttoptr(after(builder, marks, 8 * block), word.as_pointer())
            builder.store(found[block], place, align=1)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), generate


def luma_and_chroma(builder: Any, pixels: Any) -> tuple[Vector, Vector, Vector]:
    """Y, Cb and Cr, int32, of `STEP` RGB pixels at an address."""
    channels = load(builder, pixels, 8, 3 * STEP)
    rgb = [channels.picked(range(channel, 3 * STEP, 3)).widened(32, signed=False) for channel in range(3)]

    def weighed(weights: tuple[int, int, int]) -> Vector:
        return rgb[0] * weights[0] + rgb[1] * weights[1] + rgb[2] * weights[2]

    return (
        (weighed(LUMA) + (1 << 15)) >> 16,
        (weighed(CB) + (CENTRE - 1)) >> 16,
        (weighed(CR) + (CENTRE - 1)) >> 16,
    )


def halved(above: Vector, below: Vector) -> Vector:
    """Half as many samples as two rows have."""
    both = above + below
    evens, odds = (both.picked(range(first, STEP, 2)) for first in range(2))
    return (evens + odds + [1, 2] * (STEP // 4)) >> 2


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
