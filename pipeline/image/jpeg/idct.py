"""From the coefficients of a JPEG to pixels, with the integers of libjpeg-turbo's defaults: the same to the bit.

inverse DCT   the accurate integer one ("islow"), after Loeffler, Ligtenberg and Moschytz (1989)
upsampling    the smooth one: each chroma sample weighs 3, its neighbour 1, in both directions
colour        YCbCr to RGB as JFIF has it (ITU-T T.871, section 7), in fixed point with 16 bits
"""

from typing import Any

from llvmlite import ir
from numba import types

from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.simd import Vector, after, load

BLOCK = 8  # the side of a block, samples
FINE, COARSE = 13, 2  # bits behind the point: of the constants below, and of what the first pass leaves
MOST = 8192  # of a coefficient that two more bits leave within 16
STEP = 32  # pixels that are coloured at once
MARGIN = 32  # bytes before and after each row of samples, which whole vectors may touch


def fixed(number: float, bits: int = FINE) -> int:
    """A number in fixed point."""
    return int(number * (1 << bits) + 0.5)


C0_298, C0_390, C0_541, C0_765 = map(fixed, (0.298631336, 0.390180644, 0.541196100, 0.765366865))
C0_899, C1_175, C1_501, C1_847 = map(fixed, (0.899976223, 1.175875602, 1.501321110, 1.847759065))
C1_961, C2_053, C2_562, C3_072 = map(fixed, (1.961570560, 2.053119869, 2.562915447, 3.072711026))


def inverse_dct(x: list[Vector], drop: int) -> list[Vector]:
    """Eight samples from eight coefficients, in each lane: x int16, result int32 without its `drop` last bits.

    Sums of two inputs wrap around at 16 bits, as they do in libjpeg-turbo's own vectors.
    """

    def wide(lanes: Vector) -> Vector:
        return lanes.widened(32)

    half = 1 << (drop - 1)
    sum04, difference04 = wide(x[0] + x[4]) << FINE, wide(x[0] - x[4]) << FINE
    x1, x2, x3, x5, x6, x7 = (wide(x[i]) for i in (1, 2, 3, 5, 6, 7))
    low26 = x2 * C0_541 + x6 * (C0_541 - C1_847)
    high26 = x2 * (C0_541 + C0_765) + x6 * C0_541
    even = [sum04 + high26, difference04 + low26, difference04 - low26, sum04 - high26]
    z3, z4 = wide(x[7] + x[3]), wide(x[5] + x[1])
    both3 = z3 * (C1_175 - C1_961) + z4 * C1_175
    both4 = z3 * C1_175 + z4 * (C1_175 - C0_390)
    odd = [
        x1 * (C1_501 - C0_899) + x7 * -C0_899 + both4,
        x3 * (C3_072 - C2_562) + x5 * -C2_562 + both3,
        x5 * (C2_053 - C2_562) + x3 * -C2_562 + both4,
        x7 * (C0_298 - C0_899) + x1 * -C0_899 + both3,
    ]
    even = [lanes + half for lanes in even]
    first = [(a + b) >> drop for a, b in zip(even, odd, strict=True)]
    last = [(a - b) >> drop for a, b in zip(even, odd, strict=True)]
    return first + last[::-1]


def transposed(rows: list[Vector]) -> list[Vector]:
    """Rows and columns exchanged in each 8x8 of eight vectors of 16: three rounds of interleaving."""
    lows = [0, 16, 1, 17, 2, 18, 3, 19, 8, 24, 9, 25, 10, 26, 11, 27]
    highs = [at + 4 for at in lows]
    for _ in range(3):
        rows = [rows[i].picked(part, rows[i + 4]) for i in range(4) for part in (lows, highs)]
    return rows


@intrinsic
def inverse_dct_pair(context: Any, coefficients: Any, quantisers: Any, left: Any, right: Any, stride: Any) -> Any:
    """The samples of two blocks at once.

    coefficients  address of int16 [8, 2, 8]: row, block, column
    quantisers    address of as many int16, what they are multiplied with
    left, right   addresses of the first sample (uint8) of each block, `stride` bytes from row to row; at the same
                  place the left one stays

    Returns 0 unless a coefficient of the first rows is beyond `MOST`: libjpeg-turbo's vectors then overflow in a way of
    their own, where all other rows are 0. No image has such coefficients.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        coefficients, quantisers, left, right, stride = arguments
        rows = [
            load(builder, after(builder, coefficients, 32 * y), 16, 16)
            * load(builder, after(builder, quantisers, 32 * y), 16, 16)
            for y in range(BLOCK)
        ]
        beyond = rows[0].beyond_mask(MOST)
        columns = inverse_dct(rows, FINE - COARSE)
        columns = transposed([lanes.narrowed(16, -32768, 32767) for lanes in columns])
        samples = inverse_dct(columns, FINE + COARSE + 3)
        for row in transposed([lanes.narrowed(16, -128, 127) for lanes in samples]):
            samples8 = Vector(builder, builder.trunc((row + 128).value, ir.VectorType(ir.IntType(8), 16)))
            samples8.picked(range(8, 16)).store(right)
            samples8.picked(range(8)).store(left)
            left, right = builder.add(left, stride), builder.add(right, stride)
        return builder.zext(beyond, ir.IntType(64))

    return types.int64(types.intp, types.intp, types.intp, types.intp, types.intp), generate


def smooth(builder: Any, near: Any, far: Any) -> Vector:
    """`STEP` chroma samples (int16) from half as many at `near` and at `far`, the next row above or below."""

    def column(offset: int) -> Vector:
        a = load(builder, after(builder, near, offset), 8, STEP // 2).widened(16, signed=False)
        b = load(builder, after(builder, far, offset), 8, STEP // 2).widened(16, signed=False)
        return a * 3 + b

    here = column(0) * 3
    left, right = (here + column(-1) + 8) >> 4, (here + column(1) + 7) >> 4
    return left.picked([at for x in range(STEP // 2) for at in (x, x + STEP // 2)], right)


def interleaved(red: Vector, green: Vector, blue: Vector) -> Vector:
    """R, G, B, R, G, B ... of three vectors of as many lanes."""
    count = len(red)
    pair = red.picked(range(2 * count), green)
    rest = blue.picked([x % count for x in range(2 * count)])
    return pair.picked([at for x in range(count) for at in (x, x + count, x + 2 * count)], rest)


def coloured(builder: Any, luma: Any, cb: Vector, cr: Vector, out: Any) -> None:
    """Writes `STEP` RGB pixels to `out`: of luma at an address, and of chroma (int16)."""
    half = 16
    for part in range(STEP // half):
        lanes = range(half * part, half * (part + 1))
        y = load(builder, after(builder, luma, half * part), 8, half).widened(32, signed=False)
        blue, red = cb.picked(lanes).widened(32) - 128, cr.picked(lanes).widened(32) - 128
        r = y + ((red * fixed(1.402, 16) + 32768) >> 16)
        g = y + ((blue * -fixed(0.34414, 16) + red * -fixed(0.71414, 16) + 32768) >> 16)
        b = y + ((blue * fixed(1.772, 16) + 32768) >> 16)
        pixels = interleaved(*(channel.narrowed(8, 0, 255) for channel in (r, g, b)))
        pixels.store(after(builder, out, 3 * half * part))


@intrinsic
def colour_halved(context: Any, luma: Any, cb: Any, cb_far: Any, cr: Any, cr_far: Any, out: Any) -> Any:
    """`STEP` RGB pixels of 4:2:0: chroma is of half the size in both directions. All arguments are addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        luma, cb, cb_far, cr, cr_far, out = arguments
        coloured(builder, luma, smooth(builder, cb, cb_far), smooth(builder, cr, cr_far), out)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


@intrinsic
def colour_full(context: Any, luma: Any, cb: Any, cr: Any, out: Any) -> Any:
    """`STEP` RGB pixels of 4:4:4. All arguments are addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        luma, cb, cr, out = arguments
        blue, red = (load(builder, plane, 8, STEP).widened(16, signed=False) for plane in (cb, cr))
        coloured(builder, luma, blue, red, out)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate
