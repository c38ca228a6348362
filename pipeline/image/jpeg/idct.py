"""From the coefficients of a JPEG to pixels, with the integers of libjpeg-turbo's defaults: the same to the bit.

inverse DCT   the accurate integer one ("islow"), after Loeffler, Ligtenberg and Moschytz (1989)
upsampling    the smooth one: each chroma sample weighs 3, its neighbour 1, in both directions
colour        YCbCr to RGB as JFIF has it (ITU-T T.871, section 7), in fixed point with 16 bits
"""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.simd import Vector, after, load

BLOCK = 8  # the side of a block, samples
FINE, COARSE = 13, 2  # bits behind the point: of the constants below, and of what the first pass leaves
ROUNDING = 10  # bits of the factor that rounds; the lanes have the others
MOST = 8192  # of a coefficient that two more bits leave within 16
ONE = 1 << 16  # of what colours are weighed with
STEP = 32  # pixels that are coloured at once
MARGIN = 32  # bytes before and after each row of samples, which whole vectors may touch


def fixed(number: float, bits: int = FINE) -> int:
    """A number in fixed point."""
    return int(number * (1 << bits) + 0.5)


C0_298, C0_390, C0_541, C0_765 = map(fixed, (0.298631336, 0.390180644, 0.541196100, 0.765366865))
C0_899, C1_175, C1_501, C1_847 = map(fixed, (0.899976223, 1.175875602, 1.501321110, 1.847759065))
C1_961, C2_053, C2_562, C3_072 = map(fixed, (1.961570560, 2.053119869, 2.562915447, 3.072711026))


class Halves(NamedTuple):
    """int32 lanes that belong to an int16 vector: those of each group's first half, and those of its second."""

    first: Vector
    second: Vector

    def plus(self, other: "Halves") -> "Halves":
        """Lane by lane."""
        return Halves(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: "Halves") -> "Halves":
        """Lane by lane."""
        return Halves(*(a - b for a, b in zip(self, other, strict=True)))

    def dropped(self, bits: int) -> Vector:
        """Without the last bits, as int16 again."""
        return (self.first >> bits).packed(self.second >> bits)


def weighed(a: Vector, b: Vector, *weights: tuple[int, int]) -> list[Halves]:
    """For each pair of weights the sum of both vectors times these: multiplications of 16 bits, two at once."""
    pairs = a.zipped(b)
    return [Halves(*(half.pair_sums(pair) for half in pairs)) for pair in weights]


def inverse_dct(x: list[Vector], drop: int) -> list[Vector]:
    """Eight samples from eight coefficients, in each lane: int16. The results lose their `drop` last bits and are
    rounded.

    Sums of two inputs wrap around at 16 bits, as they do in libjpeg-turbo's own vectors.
    """
    half = x[0].filled(1 << (drop - 1 - ROUNDING))
    weights = (1 << FINE, 1 << ROUNDING)
    (sum04,), (difference04,) = weighed(x[0] + x[4], half, weights), weighed(x[0] - x[4], half, weights)
    low26, high26 = weighed(x[2], x[6], (C0_541, C0_541 - C1_847), (C0_541 + C0_765, C0_541))
    both3, both4 = weighed(x[7] + x[3], x[5] + x[1], (C1_175 - C1_961, C1_175), (C1_175, C1_175 - C0_390))
    from1, from7 = weighed(x[1], x[7], (C1_501 - C0_899, -C0_899), (-C0_899, C0_298 - C0_899))
    from3, from5 = weighed(x[3], x[5], (C3_072 - C2_562, -C2_562), (-C2_562, C2_053 - C2_562))
    even = [sum04.plus(high26), difference04.plus(low26), difference04.minus(low26), sum04.minus(high26)]
    odd = [from1.plus(both4), from3.plus(both3), from5.plus(both4), from7.plus(both3)]
    first = [a.plus(b).dropped(drop) for a, b in zip(even, odd, strict=True)]
    last = [a.minus(b).dropped(drop) for a, b in zip(even, odd, strict=True)]
    return first + last[::-1]


def transposed(vectors: list[Vector]) -> list[Vector]:
    """Rows and columns exchanged in each 8x8 of as many groups of lanes: three rounds of interleaving."""
    half = len(vectors) // 2
    for _ in range(3):
        vectors = [part for i in range(half) for part in vectors[i].zipped(vectors[i + half])]
    return vectors


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
        columns = transposed(inverse_dct(rows, FINE - COARSE))
        samples = inverse_dct(columns, FINE + COARSE + 3)
        pairs = [samples[x].packed(samples[x + 1]) + 128 for x in range(0, BLOCK, 2)]
        for two_rows in transposed(pairs):  # of the left block, and of the right one
            for at in (0, BLOCK):
                two_rows.picked(range(16 + at, 16 + at + BLOCK)).store(right)
                two_rows.picked(range(at, at + BLOCK)).store(left)
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


def rounded_product(lanes: Vector, number: int) -> Vector:
    """Times a number with 16 bits behind the point, to the nearest integer: the product of the doubled lanes loses all
    bits but one before it is rounded, which changes nothing."""
    return ((lanes + lanes).high_product(number) + 1) >> 1


def coloured(builder: Any, luma: Any, cb: Vector, cr: Vector, out: Any) -> None:
    """Writes `STEP` RGB pixels to `out`: of luma at an address, and of chroma (int16).

    Factors beyond 1/2 are taken apart, so that 16 bits hold them: red is y + cr + 0.402 cr, and so on.
    """
    y = load(builder, luma, 8, STEP).widened(16, signed=False)
    cb, cr = cb - 128, cr - 128
    red = y + cr + rounded_product(cr, fixed(1.402, 16) - ONE)
    blue = y + cb + cb + rounded_product(cb, fixed(1.772, 16) - 2 * ONE)
    rest = cb.zipped(cr)
    weights = -fixed(0.34414, 16), ONE - fixed(0.71414, 16)
    less = [(half.pair_sums(weights) + (1 << 15)) >> 16 for half in rest]
    green = y - cr + less[0].packed(less[1])
    for at in range(0, STEP, 16):
        lanes = range(at, at + 16)
        pixels = interleaved(*(channel.picked(lanes).narrowed(8, 0, 255) for channel in (red, green, blue)))
        pixels.store(after(builder, out, 3 * at))


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
