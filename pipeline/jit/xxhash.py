"""XXH3, 64 bit, seed 0: the proof that bytes are those that were written. libxxhash's hash, compiled here.

Up to 240 bytes are mixed two words at a time by products of 128 bits; more of them go through eight sums of 64 bits,
which stay in the vector registers of the processor. Words are little-endian and may begin at any address.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.njit import njit

U = np.uint64  # Numba makes floats of a uint64 and a plain number
SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
        "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    np.uint8,
)
PRIME32_1, PRIME32_2, PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIME_1, PRIME_2, PRIME_3 = U(0x9E3779B185EBCA87), U(0xC2B2AE3D27D4EB4F), U(0x165667B19E3779F9)
PRIME_4, PRIME_5 = U(0x85EBCA77C2B2AE63), U(0x27D4EB2F165667C5)
MIX_1, MIX_2 = U(0x165667919E3779F9), U(0x9FB21C651E98DF25)
SUMS = (PRIME32_3, PRIME_1, PRIME_2, PRIME_3, PRIME_4, PRIME32_2, PRIME_5, PRIME32_1)  # to begin with

LANES = ir.VectorType(ir.IntType(64), 8)
STRIPE, BLOCK = 64, 1024  # bytes: of a vector of `LANES`, and of those after which the sums are scrambled
STEP = 8  # bytes of the secret from one stripe to the next
LAST_STRIPE, SCRAMBLE, MERGE = 192 - STRIPE - 7, 192 - STRIPE, 11  # where these begin in the secret


def secret_word(at: int) -> np.uint64:
    """Eight bytes of the secret from `at` on."""
    return U(int.from_bytes(SECRET[at : at + 8].tobytes(), "little"))


FLIP_0 = secret_word(56) ^ secret_word(64)
FLIP_3 = U(int(secret_word(0)) & 0xFFFFFFFF) ^ (secret_word(0) >> U(32))
FLIP_8 = secret_word(8) ^ secret_word(16)
FLIP_16 = secret_word(24) ^ secret_word(32), secret_word(40) ^ secret_word(48)


@njit
def xxh3_64(data: np.ndarray) -> Any:
    """XXH3 (64 bit, seed 0) of `data` (uint8 [bytes], contiguous): uint64."""
    at, size = int(np.intp(data.ctypes.data)), data.size
    if size > 240:
        return hash_long(at, size)
    if size > 128:
        return hash_240(at, size)
    if size > 16:
        return hash_128(at, size)
    return hash_16(at, size)


@njit
def hash_16(at: int, size: int) -> np.uint64:
    """Of up to 16 bytes at an address."""
    length = U(size)
    if size > 8:
        low, high = word(at) ^ FLIP_16[0], word(at + size - 8) ^ FLIP_16[1]
        return mixed(length + swapped(low) + high + folded_product(low, high))
    if size > 3:
        value = (U(half_word(at + size - 4)) + (U(half_word(at)) << U(32))) ^ FLIP_8
        value ^= (value << U(49) | value >> U(15)) ^ (value << U(24) | value >> U(40))
        value *= MIX_2
        value = (value ^ ((value >> U(35)) + length)) * MIX_2
        return value ^ value >> U(28)
    if size > 0:
        first, middle, last = U(byte(at)), U(byte(at + (size >> 1))), U(byte(at + size - 1))
        return mixed_well((first << U(16) | middle << U(24) | last | length << U(8)) ^ FLIP_3)
    return mixed_well(FLIP_0)


@njit
def hash_128(at: int, size: int) -> np.uint64:
    """Of 17 to 128 bytes: from both ends to the middle."""
    total = U(size) * PRIME_1
    for i in range((size - 1) // 32 + 1):
        total += pair(at + 16 * i, 32 * i) + pair(at + size - 16 * (i + 1), 32 * i + 16)
    return mixed(total)


@njit
def hash_240(at: int, size: int) -> np.uint64:
    """Of 129 to 240 bytes."""
    total = U(size) * PRIME_1
    for i in range(8):
        total += pair(at + 16 * i, 16 * i)
    total = mixed(total)
    for i in range(8, size // 16):
        total += pair(at + 16 * i, 16 * (i - 8) + 3)
    return mixed(total + pair(at + size - 16, 136 - 17))


@njit
def hash_long(at: int, size: int) -> np.uint64:
    """Of more than 240 bytes: stripes, of which the last may overlap the one before it."""
    secret = SECRET.ctypes.data
    sums, total = sums_of(at, size, secret), U(size) * PRIME_1
    for i in range(4):
        key = secret + MERGE + 16 * i
        total += folded_product(sums[2 * i] ^ word(key), sums[2 * i + 1] ^ word(key + 8))
    return mixed(total)


@njit
def pair(at: int, key: int) -> np.uint64:
    """Sixteen bytes mixed with those of the secret from `key` on."""
    secret = SECRET.ctypes.data + key
    return folded_product(word(at) ^ word(secret), word(at + 8) ^ word(secret + 8))


@njit
def mixed(value: np.uint64) -> np.uint64:
    """Each bit spread over the others."""
    value = (value ^ value >> U(37)) * MIX_1
    return value ^ value >> U(32)


@njit
def mixed_well(value: np.uint64) -> np.uint64:
    """The same, for values of few bits."""
    value = (value ^ value >> U(33)) * PRIME_2
    value = (value ^ value >> U(29)) * PRIME_3
    return value ^ value >> U(32)


def reader(bits: int, result: types.Type) -> Any:
    """An intrinsic that reads a number of `bits` at an address, which need not be aligned."""

    @intrinsic
    def read(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()), align=1)

        return result(types.intp), generate

    return read


byte, half_word, word = reader(8, types.uint8), reader(32, types.uint32), reader(64, types.uint64)


@intrinsic
def swapped(context: Any, value: Any) -> Any:
    """The eight bytes of a word in the other order: uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic
def folded_product(context: Any, one: Any, other: Any) -> Any:
    """The upper half of a product of 128 bits, exclusive or its lower half: uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(each, wide) for each in arguments))
        return builder.trunc(builder.xor(product, builder.lshr(product, wide(64))), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def sums_of(context: Any, address: Any, size: Any, secret: Any) -> Any:
    """The eight sums (a tuple of uint64) of `size` bytes, more than `STRIPE`, at an address; the secret is at its own.

    All stripes are added in one piece of code: the sums never leave the registers.
    """
    result = types.UniTuple(types.uint64, 8)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, size, secret = arguments
        number, stripes = size.type, Stripes(builder, secret)
        before_last = builder.sub(size, number(1))
        blocks = builder.udiv(before_last, number(BLOCK))
        with cgutils.for_range(builder, blocks) as loop:
            stripes.add_many(builder.add(start, builder.mul(loop.index, number(BLOCK))), number(BLOCK // STRIPE))
            stripes.scramble()
        done = builder.mul(blocks, number(BLOCK))
        stripes.add_many(builder.add(start, done), builder.udiv(builder.sub(before_last, done), number(STRIPE)))
        stripes.add(builder.add(start, builder.sub(size, number(STRIPE))), builder.add(secret, number(LAST_STRIPE)))
        sums = builder.load(stripes.sums)
        return context.make_tuple(builder, result, [builder.extract_element(sums, ir.IntType(32)(i)) for i in range(8)])

    return result(types.intp, types.intp, types.intp), generate


class Stripes:
    """The sums within `sums_of`, and the instructions that change them."""

    def __init__(self, builder: Any, secret: Any) -> None:
        self.builder, self.secret = builder, secret
        self.sums = cgutils.alloca_once_value(builder, ir.Constant(LANES, [int(each) for each in SUMS]))

    def add(self, address: Any, key: Any) -> None:
        """Adds the stripe at an address: each word to its neighbour's sum, its keyed halves' product to its own."""
        builder, data = self.builder, self._lanes(address)
        keyed = builder.xor(data, self._lanes(key))
        product = builder.mul(builder.and_(keyed, each_lane(0xFFFFFFFF)), builder.lshr(keyed, each_lane(32)))
        order = ir.Constant(ir.VectorType(ir.IntType(32), 8), [1, 0, 3, 2, 5, 4, 7, 6])
        neighbours = builder.shuffle_vector(data, ir.Constant(LANES, ir.Undefined), order)
        builder.store(builder.add(builder.load(self.sums), builder.add(neighbours, product)), self.sums)

    def add_many(self, address: Any, count: Any) -> None:
        """Adds `count` stripes that follow each other."""
        builder, number = self.builder, count.type
        with cgutils.for_range(builder, count) as loop:
            at, key = (builder.mul(loop.index, number(step)) for step in (STRIPE, STEP))
            self.add(builder.add(address, at), builder.add(self.secret, key))

    def scramble(self) -> None:
        """What is done to the sums after each block."""
        builder, key = self.builder, self._lanes(self.builder.add(self.secret, self.secret.type(SCRAMBLE)))
        value = builder.load(self.sums)
        value = builder.xor(builder.xor(value, builder.lshr(value, each_lane(47))), key)
        builder.store(builder.mul(value, each_lane(PRIME32_1)), self.sums)

    def _lanes(self, address: Any) -> Any:
        return self.builder.load(self.builder.inttoptr(address, LANES.as_pointer()), align=1)


def each_lane(value: int) -> Any:
    """The same number in each lane."""
    return ir.Constant(LANES, [value] * 8)
