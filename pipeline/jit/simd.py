"""Arithmetic on many numbers at once, written like arithmetic: what an intrinsic of Numba emits as LLVM vectors.

Numba computes with 64 bits whatever it is given, so its loops over bytes use an eighth of a vector unit. `Vector` says
how wide the numbers are. LLVM turns it into instructions of the processor that it runs on, with whatever vectors that
one has.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir


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
