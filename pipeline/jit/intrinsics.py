"""The few operations that Numba has no words for, given to it as LLVM instructions."""

from collections.abc import Callable
from typing import Any

import numba.extending
from llvmlite import ir
from numba import types
from numba.core import cgutils

from imagefeed.pipeline.jit.simd import load

# Numba's own annotation says that an intrinsic cannot be called, which is true outside of compiled code only.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.extending.intrinsic

FLIP_PIXELS = 16  # mirrored by one shuffle: 48 bytes
COPY_BYTES = 32  # at once, in search of a marker


@intrinsic
def pointer(context: Any, address: Any) -> Any:
    """A number as an address, for `numba.carray`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), generate


@intrinsic
def call_at(context: Any, function: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """Calls the C function at an address with six int64; it returns an int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word] * 6)
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.int64(*[types.int64] * 7), generate


@intrinsic
def add_atomically(context: Any, array: Any, amount: Any) -> Any:
    """Adds `amount` to `array[0]` (int64) as one step that no other thread comes between; returns the value before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, arguments[1], "seq_cst")

    return types.int64(array, types.int64), generate


@intrinsic
def finish(context: Any, pixel: Any, mean: Any, colour: Any, scale: Any, like: Any) -> Any:
    """`((pixel - mean) + colour) * scale` in float32, rounded to nearest even for the array `like`.

    For uint8 it is `pixel` itself.
    int16 stands for the bits of a float16 and uint16 for those of a bfloat16: Numba has no arrays of either.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pixel, mean, colour, scale, _ = arguments
        if signature.return_type == types.uint8:
            return pixel  # the compiler then drops the rest
        value = builder.fadd(builder.fsub(builder.uitofp(pixel, ir.FloatType()), mean), colour)
        value = builder.fmul(value, scale)
        if signature.return_type == types.float32:
            return value
        if signature.return_type == types.int16:
            return builder.bitcast(builder.fptrunc(value, ir.HalfType()), ir.IntType(16))
        word = ir.IntType(32)
        bits = builder.bitcast(value, word)
        odd = builder.and_(builder.lshr(bits, word(16)), word(1))
        rounded = builder.add(bits, builder.add(odd, word(0x7FFF)))  # finite values only, as all of ours are
        return builder.trunc(builder.lshr(rounded, word(16)), ir.IntType(16))

    return like.dtype(types.uint8, types.float32, types.float32, types.float32, like), generate


@intrinsic
def flip_block(context: Any, source: Any, target: Any) -> Any:
    """Copies `FLIP_PIXELS` RGB pixels from one address to another, last pixel first, as one shuffle of bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = ir.VectorType(ir.IntType(8), 3 * FLIP_PIXELS)
        source, target = (builder.inttoptr(address, block.as_pointer()) for address in arguments)
        order = [3 * pixel + channel for pixel in reversed(range(FLIP_PIXELS)) for channel in range(3)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
        pixels = builder.load(source, align=1)
        builder.store(builder.shuffle_vector(pixels, ir.Constant(block, ir.Undefined), mask), target, align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def big_endian(context: Any, data: Any, at: Any) -> Any:
    """Eight bytes of `data` (uint8 [bytes]) from `at` on, the first one highest: uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        words = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.bswap(builder.load(words, align=1))

    return types.uint64(data, types.uint64), generate


@intrinsic
def copy_block_until_ff(context: Any, source: Any, target: Any) -> Any:
    """Copies `COPY_BYTES` bytes from one address to another; returns how many of them precede the first 0xFF."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = load(builder, arguments[0], 8, COPY_BYTES)
        block.store(arguments[1])
        return builder.cttz(builder.zext(block.equal_mask(0xFF), ir.IntType(64)), ir.IntType(1)(0))

    return types.int64(types.intp, types.intp), generate


@intrinsic
def store_big_endian(context: Any, data: Any, at: Any, value: Any) -> Any:
    """Writes `value` (uint64) to `data` (uint8 [bytes]) as eight bytes from `at` on, the highest first."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        words = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        builder.store(builder.bswap(arguments[2]), words, align=1)
        return context.get_dummy_value()

    return types.void(data, types.uint64, types.uint64), generate


@intrinsic
def lowest_bit(context: Any, number: Any) -> Any:
    """The number of the lowest bit that is 1, 64 where there is none: uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), generate


@intrinsic
def bit_length(context: Any, number: Any) -> Any:
    """How many bits a number takes, as Python's `int.bit_length` says: uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sub(ir.IntType(64)(64), builder.ctlz(arguments[0], ir.IntType(1)(0)))

    return types.uint64(types.uint64), generate
