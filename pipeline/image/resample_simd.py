"""Weighted sums of pixels, many at once: the inner loops of resampling, given to Numba as LLVM vectors.

Weights are fixed point with `FRACTION_BITS` fractional bits; a sum is rounded to 8 bits and kept within them. Each
weight comes as two numbers, see `parts`: processors multiply 16 bits and add two products at once, where 32 bits would
take four times as long. So pixels and weights come in pairs.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.simd import Vector, after, load

FRACTION_BITS = 22  # of a weight; an image's 8 bits and a carry leave room for the sign in 32
HALF = 1 << (FRACTION_BITS - 1)
LOW_BITS = 11  # of a weight, in the second of its parts
BLOCK = 32  # bytes of a row that are summed up at once
PIXELS = 8  # of a row that are made at once
TAPS = 4  # of each of them that are summed up at once: one load of 16 bytes has them all

WORD = ir.IntType(32)


@njit
def parts(weight: int) -> tuple[int, int]:
    """A weight as two numbers of 16 bits: it is the first times 2^11, and the second."""
    return weight >> LOW_BITS, weight & ((1 << LOW_BITS) - 1)


def rounded_sums(builder: Any, count: Any, terms: Callable[[Any], list[tuple[Vector, Vector]]]) -> list[Vector]:
    """Vectors of sums (int32), rounded. `terms` makes the upper and the lower part of each from its number, of `count`;
    the first ones stand before the loop, as mostly there are one or two."""
    totals = [
        cgutils.alloca_once_value(builder, start.value)
        for high, low in terms(count.type(0))
        for start in (high, low + HALF)
    ]
    with cgutils.for_range(builder, count, start=count.type(1)) as loop:
        for total, term in zip(totals, [part for pair in terms(loop.index) for part in pair], strict=True):
            builder.store((Vector(builder, builder.load(total)) + term).value, total)
    sums = [Vector(builder, builder.load(total)) for total in totals]
    return [((high << LOW_BITS) + low) >> FRACTION_BITS for high, low in zip(sums[::2], sums[1::2], strict=True)]


def in_bytes(sums: list[Vector]) -> Vector:
    """Four vectors of numbers as one of bytes: in each group of 16 those of the first come first."""
    a, b, c, d = sums
    return a.packed(b).packed(c.packed(d), signed=False)


@intrinsic
def weigh_rows(context: Any, pixels: Any, stride: Any, weights: Any, count: Any, out: Any) -> Any:
    """`BLOCK` bytes, each the weighted sum of `count` bytes that lie `stride` apart, the first at `pixels`.

    `weights` is the address of int16 [pairs, 2, 2]: by part and by weight of the pair, 0 where there is no second;
    `out` that of the result.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pixels, stride, weights, count, out = arguments
        one = count.type(1)
        last = builder.sub(count, one)

        def row(number: Any) -> Vector:
            return load(builder, builder.add(pixels, builder.mul(number, stride)), 8, BLOCK)

        def weight(pair: Any, part: int) -> Vector:
            at = builder.add(weights, builder.add(builder.mul(pair, pair.type(8)), pair.type(4 * part)))
            return load(builder, at, 32, 1).picked([0] * (BLOCK // 4)).regrouped(16)

        def terms(pair: Any) -> list[tuple[Vector, Vector]]:
            first = builder.shl(pair, one)
            second = builder.add(first, one)
            second = builder.select(builder.icmp_signed("<", second, last), second, last)
            both = row(first).zipped(row(second))
            pairs = [part.regrouped(16) for half in both for part in half.zipped(half.filled(0))]
            parts = weight(pair, 0), weight(pair, 1)
            return [(each.pair_sums(parts[0]), each.pair_sums(parts[1])) for each in pairs]

        pairs = builder.ashr(builder.add(count, one), one)
        in_bytes(rounded_sums(builder, pairs, terms)).store(out)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@intrinsic
def weigh_pixels(context: Any, line: Any, starts: Any, weights: Any, count: Any, out: Any) -> Any:
    """`PIXELS` RGB pixels, each the weighted sum of `TAPS` x `count` pixels of `line`.

    line     address of uint8; four bytes behind the last pixel are read
    starts   address of int32 [PIXELS]: where in `line` the first pixel of each sum is, bytes
    weights  address of int16 [count, PIXELS / 2, TAPS / 2, 2, 2, 4, 2]: those of pixel i and of pixel i + 4 lie
             together, each pair of weights four times: by i, pair, part, pixel, repetition and weight of the pair
    out      address of uint8 [3 * PIXELS]
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line, starts, weights, count, out = arguments
        addresses = []
        for pixel in range(PIXELS):
            start = builder.load(builder.inttoptr(after(builder, starts, 4 * pixel), WORD.as_pointer()), align=4)
            addresses.append(builder.add(line, builder.sext(start, line.type)))
        half, size = PIXELS // 2, 32  # bytes of a vector of weights

        def terms(number: Any) -> list[tuple[Vector, Vector]]:
            step = builder.mul(number, number.type(3 * TAPS))
            at = builder.add(weights, builder.mul(number, number.type(2 * TAPS * half * size // 2)))
            found = []
            for pixel in range(half):
                two = [load(builder, builder.add(addresses[i], step), 8, 16) for i in (pixel, pixel + half)]
                both = two[0].picked(range(32), two[1])
                sums = []
                for pair in range(TAPS // 2):
                    values = tap_pairs(both, pair)
                    place = builder.add(at, at.type(size * 2 * (pixel * (TAPS // 2) + pair)))
                    by = [load(builder, builder.add(place, at.type(size * part)), 16, 16) for part in range(2)]
                    sums.append([values.pair_sums(weight) for weight in by])
                found.append((sums[0][0] + sums[1][0], sums[0][1] + sums[1][1]))
            return found

        pixels = in_bytes(rounded_sums(builder, count, terms))
        pixels.picked([lane for lane in range(4 * PIXELS) if lane % 4 < 3]).store(out)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


def tap_pairs(pixels: Vector, pair: int) -> Vector:
    """Of RGB pixels, in groups of 16 bytes, two neighbours: int16 R, R, G, G, B, B and two that do not count."""
    lanes = []
    for group in range(0, len(pixels), 16):
        for channel in (0, 1, 2, 0):
            for tap in (2 * pair, 2 * pair + 1):
                lanes += [group + 3 * tap + channel, len(pixels)]  # the byte, and a zero
    return pixels.picked(lanes, pixels.filled(0)).regrouped(16)
