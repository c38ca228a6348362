"""Arithmetic on many numbers at once, written like arithmetic: what an intrinsic of Numba emits as LLVM vectors.

Numba computes with 64 bits whatever it is given, so its loops over bytes use an eighth of a vector unit. `Vector` says
how wide the numbers are. LLVM turns it into instructions of the processor that it runs on, with whatever vectors that
one has.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from imagefeed.pipeline.jit.processor import vector_bits

GROUP = 128  # bits: what the instructions that bring lanes of two vectors together stay within
# The names of x86's instructions in LLVM, for vectors of 128, 256 and 512 bits.
PAIR_SUMS = "sse2.pmadd.wd", "avx2.pmadd.wd", "avx512.pmaddw.d.512"
HIGH_PRODUCTS = {
    True: ("sse2.pmulh.w", "avx2.pmulh.w", "avx512.pmulh.w.512"),
    False: ("sse2.pmulhu.w", "avx2.pmulhu.w", "avx512.pmulhu.w.512"),
}
PACKS = {
    (32, True): ("sse2.packssdw.128", "avx2.packssdw", "avx512.packssdw.512"),
    (16, True): ("sse2.packsswb.128", "avx2.packsswb", "avx512.packsswb.512"),
    (16, False): ("sse2.packuswb.128", "avx2.packuswb", "avx512.packuswb.512"),
}


class Vector:
    """A vector of integers within an intrinsic's `generate`. Operators work lane by lane and wrap around; `>>` keeps
    the sign. A plain integer stands for itself in each lane."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @property
    def bits(self) -> int:
        """Of a lane."""
        return int(self.value.type.element.width)

    def __len__(self) -> int:
        return int(self.value.type.count)

    def _like(self, other: "Vector | int | Sequence[int]") -> Any:
        if isinstance(other, Vector):
            return other.value
        values = [other] * len(self) if isinstance(other, int) else list(other)
        return ir.Constant(self.value.type, values)

    def __add__(self, other: "Vector | int | Sequence[int]") -> "Vector":
        return Vector(self.builder, self.builder.add(self.value, self._like(other)))

    def __sub__(self, other: "Vector | int") -> "Vector":
        return Vector(self.builder, self.builder.sub(self.value, self._like(other)))

    def __mul__(self, other: "Vector | int") -> "Vector":
        return Vector(self.builder, self.builder.mul(self.value, self._like(other)))

    def __and__(self, other: int) -> "Vector":
        return Vector(self.builder, self.builder.and_(self.value, self._like(other)))

    def __lshift__(self, other: int) -> "Vector":
        return Vector(self.builder, self.builder.shl(self.value, self._like(other)))

    def __rshift__(self, other: int) -> "Vector":
        return Vector(self.builder, self.builder.ashr(self.value, self._like(other)))

    def widened(self, bits: int, signed: bool = True) -> "Vector":
        """The same numbers in lanes of more bits."""
        extend = self.builder.sext if signed else self.builder.zext
        return Vector(self.builder, extend(self.value, ir.VectorType(ir.IntType(bits), len(self))))

    def narrowed(self, bits: int, low: int, high: int) -> "Vector":
        """The same numbers in lanes of fewer bits, each limited to what is between `low` and `high` (signed)."""
        value = self.value
        for bound, keeps in ((low, ">"), (high, "<")):
            limit = self._like(bound)
            value = self.builder.select(self.builder.icmp_signed(keeps, value, limit), value, limit)
        return Vector(self.builder, self.builder.trunc(value, ir.VectorType(ir.IntType(bits), len(self))))

    def picked(self, order: Sequence[int], other: "Vector | None" = None) -> "Vector":
        """Lanes by their numbers; those of `other`, which has the same type, are numbered after our own."""
        second = ir.Constant(self.value.type, ir.Undefined) if other is None else other.value
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order))
        return Vector(self.builder, self.builder.shuffle_vector(self.value, second, mask))

    def filled(self, number: int) -> "Vector":
        """A vector of this type with a number in each lane."""
        return Vector(self.builder, self._like(number))

    def zipped(self, other: "Vector") -> tuple["Vector", "Vector"]:
        """The lanes of both in turn, group by group: those of each group's first half, and those of its second."""
        group, count = GROUP // self.bits, len(self)
        first = [at + lane + own for at in range(0, count, group) for lane in range(group // 2) for own in (0, count)]
        return self.picked(first, other), self.picked([lane + group // 2 for lane in first], other)

    def packed(self, other: "Vector", signed: bool = True) -> "Vector":
        """Lanes of half the bits, each the nearest number that they can hold, `signed` or not; in each group our own
        lanes come before the other's. It takes back what `zipped` does to the order."""
        native = _native(self, other, PACKS[self.bits, signed], self.bits // 2)
        if native is not None:
            return native
        group, count, half = GROUP // self.bits, len(self), self.bits // 2
        order = [at + lane + own for at in range(0, count, group) for own in (0, count) for lane in range(group)]
        low, high = (-1 << (half - 1), (1 << (half - 1)) - 1) if signed else (0, (1 << half) - 1)
        return self.picked(order, other).narrowed(half, low, high)

    def regrouped(self, bits: int) -> "Vector":
        """The same bytes as lanes of so many bits."""
        return Vector(self.builder, self.builder.bitcast(self.value, _lanes(bits, self.bits * len(self))))

    def pair_sums(self, weights: "Vector | tuple[int, int]") -> "Vector":
        """Neighbours times two numbers (or those of a vector) and added, from int16 to half as many int32."""
        both = (
            weights if isinstance(weights, Vector) else Vector(self.builder, self._like([*weights] * (len(self) // 2)))
        )
        native = _native(self, both, PAIR_SUMS, 32)
        if native is not None:
            return native
        lanes = [[each.picked(range(first, len(self), 2)).widened(32) for each in (self, both)] for first in range(2)]
        return lanes[0][0] * lanes[0][1] + lanes[1][0] * lanes[1][1]

    def high_product(self, other: "Vector | int", signed: bool = True) -> "Vector":
        """The upper half of the bits of each product of 16-bit lanes, rounded down."""
        both = Vector(self.builder, self._like(other))
        native = _native(self, both, HIGH_PRODUCTS[signed], 16)
        if native is not None:
            return native
        shift = self.builder.ashr if signed else self.builder.lshr
        product = self.widened(32, signed) * both.widened(32, signed)
        return Vector(self.builder, self.builder.trunc(shift(product.value, product._like(16)), self.value.type))

    def equal_mask(self, number: int) -> Any:
        """An integer with one bit for each lane, the lowest for the first: whether the lane equals `number`."""
        equal = self.builder.icmp_unsigned("==", self.value, self._like(number))
        return self.builder.bitcast(equal, ir.IntType(len(self)))

    def beyond_mask(self, limit: int) -> Any:
        """An integer with one bit for each lane, the lowest for the first: whether it is outside [-limit, limit)."""
        beyond = self.builder.icmp_unsigned(">=", (self + limit).value, self._like(2 * limit))
        return self.builder.bitcast(beyond, ir.IntType(len(self)))

    def store(self, address: Any) -> None:
        """Writes all lanes to an address (intp), which need not be aligned."""
        pointer = self.builder.inttoptr(address, self.value.type.as_pointer())
        self.builder.store(self.value, pointer, align=1)


def load(builder: Any, address: Any, bits: int, count: int) -> Vector:
    """`count` numbers of `bits` bits from an address (intp), which need not be aligned."""
    pointer = builder.inttoptr(address, ir.VectorType(ir.IntType(bits), count).as_pointer())
    return Vector(builder, builder.load(pointer, align=1))


def after(builder: Any, address: Any, num_bytes: int) -> Any:
    """The address `num_bytes` after another one."""
    return builder.add(address, address.type(num_bytes))


def _lanes(bits: int, size: int) -> Any:
    """The type of a vector of `size` bits in all."""
    return ir.VectorType(ir.IntType(bits), size // bits)


def _native(a: Vector, b: Vector, names: tuple[str, ...], bits: int) -> Vector | None:
    """x86's instruction for two vectors of one type, on as many of their lanes at once as it takes; None elsewhere.

    Its result is as large as one of them and has lanes of `bits` bits.
    """
    size = min(a.bits * len(a), vector_bits())
    if size < GROUP:
        return None
    builder, count = a.builder, size // a.bits
    result, kind = _lanes(bits, size), _lanes(a.bits, size)
    name = "llvm.x86." + names[(size // GROUP).bit_length() - 1]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [kind, kind]), name)
    parts = []
    for at in range(0, len(a), count):
        lanes = range(at, at + count)
        parts.append(Vector(builder, builder.call(function, [a.picked(lanes).value, b.picked(lanes).value])))
    while len(parts) > 1:
        parts = [x.picked(range(2 * len(x)), y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
