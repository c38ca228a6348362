"""Weighted sums of pixels, many at once: the inner loops of resampling, given to Numba as LLVM vectors.

Weights are int32 in fixed point with `FRACTION_BITS` fractional bits; a sum is rounded to 8 bits and kept within them.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.simd import Vector, load

FRACTION_BITS = 22  # of a weight; an image's 8 bits and a carry leave room for the sign in 32
HALF = 1 << (FRACTION_BITS - 1)
BLOCK = 64  # bytes of a row that are summed up at once
PIXELS = 8  # of a row that are made at once

WORD = ir.IntType(32)


def weighed(builder: Any, count: Any, lanes: int, term: Callable[[Any], Vector]) -> Vector:
    """The sum of `count` terms (int32), rounded to bytes. `term` makes one of them from its number."""
    start = ir.Constant(ir.VectorType(WORD, lanes), [HALF] * lanes)
    total = cgutils.alloca_once_value(builder, start)
    with cgutils.for_range(builder, count) as loop:
        builder.store((Vector(builder, builder.load(total)) + term(loop.index)).value, total)
    return (Vector(builder, builder.load(total)) >> FRACTION_BITS).narrowed(8, 0, 255)


@intrinsic
def weigh_rows(context: Any, pixels: Any, stride: Any, weights: Any, count: Any, out: Any) -> Any:
    """`BLOCK` bytes, each the weighted sum of `count` bytes that lie `stride` apart, the first at `pixels`.

    `weights` is the address of int32 [count]; `out` that of the result.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pixels, stride, weights, count, out = arguments

        def term(number: Any) -> Vector:
            row = load(builder, builder.add(pixels, builder.mul(number, stride)), 8, BLOCK)
            weight = load(builder, builder.add(weights, builder.mul(number, number.type(4))), 32, 1)
            return row.widened(32, signed=False) * weight.picked([0] * BLOCK)

        weighed(builder, count, BLOCK, term).store(out)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@intrinsic
def weigh_pixels(context: Any, line: Any, starts: Any, weights: Any, count: Any, out: Any) -> Any:
    """`PIXELS` RGB pixels, each the weighted sum of `count` pixels of `line`.

    line     address of uint8; a byte behind the last pixel is read
    starts   address of int32 [PIXELS]: where in `line` the first pixel of each sum is, bytes
    weights  address of int32 [count, PIXELS]
    out      address of uint8 [3 * PIXELS]
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line, starts, weights, count, out = arguments
        offsets = load(builder, starts, 32, PIXELS).widened(64).value
        addresses = [builder.add(line, builder.extract_element(offsets, WORD(pixel))) for pixel in range(PIXELS)]

        def term(number: Any) -> Vector:
            step = builder.mul(number, number.type(3))
            words = ir.Constant(ir.VectorType(WORD, PIXELS), ir.Undefined)
            for pixel, start in enumerate(addresses):
                address = builder.inttoptr(builder.add(start, step), WORD.as_pointer())
                words = builder.insert_element(words, builder.load(address, align=1), WORD(pixel))
            values = Vector(builder, builder.bitcast(words, ir.VectorType(ir.IntType(8), 4 * PIXELS)))
            weight = load(builder, builder.add(weights, builder.mul(number, number.type(4 * PIXELS))), 32, PIXELS)
            return values.widened(32, signed=False) * weight.picked([lane // 4 for lane in range(4 * PIXELS)])

        pixels = weighed(builder, count, 4 * PIXELS, term)
        pixels.picked([lane for lane in range(4 * PIXELS) if lane % 4 < 3]).store(out)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate
