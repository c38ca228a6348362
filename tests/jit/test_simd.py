"""Each operation on vectors is NumPy's on the same numbers, lane by lane, with the same wrapping."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit, types

from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.simd import Vector, load

LANES = 16
ORDER = [15, 0, 31, 16, 7, 7, 20, 1]
Operation = Callable[[Any, Vector, Vector], Any]  # of a builder and two vectors: a vector, or an integer of bits


def run(operation: Operation, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`operation` on the lanes of `a` and `b`, compiled; the lanes or bits that it gives, in memory like `out`."""

    @intrinsic
    def emit(context: Any, first: Any, second: Any, target: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = [load(builder, address, 8 * a.itemsize, LANES) for address in arguments[:2]]
            found = operation(builder, *vectors)
            if isinstance(found, Vector):
                found.store(arguments[2])
            else:
                pointer = builder.inttoptr(arguments[2], found.type.as_pointer())
                builder.store(found, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp), generate

    @njit
    def call(first, second, target):
        emit(first, second, target)

    call(a.ctypes.data, b.ctypes.data, out.ctypes.data)
    return out


def lanes(dtype: str, seed: int) -> np.ndarray:
    """Random numbers of the whole range, with its ends among them."""
    info = np.iinfo(dtype)
    numbers = np.random.default_rng(seed).integers(info.min, info.max, LANES, dtype, endpoint=True)
    numbers[:3] = info.min, info.max, 0
    return numbers


WRAPPING: dict[str, tuple[Operation, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "add": (lambda _, a, b: a + b, lambda a, b: a + b),
    "subtract": (lambda _, a, b: a - b, lambda a, b: a - b),
    "multiply": (lambda _, a, b: a * b, lambda a, b: a * b),
    "a number in each lane": (lambda _, a, b: a * 3 + 7 - 5, lambda a, b: a * a.dtype.type(3) + a.dtype.type(2)),
    "a number for each lane": (lambda _, a, b: a + range(LANES), lambda a, b: a + np.arange(LANES, dtype=a.dtype)),
    "shift left": (lambda _, a, b: a << 3, lambda a, b: a << a.dtype.type(3)),
    "shift right with the sign": (lambda _, a, b: a >> 3, lambda a, b: a >> a.dtype.type(3)),
}


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize("name", WRAPPING)
def test_arithmetic_is_numpys(name: str, dtype: str) -> None:
    operation, twin = WRAPPING[name]
    a, b = lanes(dtype, 1), lanes(dtype, 2)
    with np.errstate(over="ignore"):
        assert run(operation, a, b, np.zeros(LANES, dtype)).tolist() == twin(a, b).tolist()


@pytest.mark.parametrize("signed", [True, False])
def test_wider_lanes_hold_the_same_numbers(signed: bool) -> None:
    a = lanes("int8" if signed else "uint8", 3)
    found = run(lambda _, a, b: a.widened(32, signed), a, a, np.zeros(LANES, np.int32))
    assert found.tolist() == a.tolist()


def test_narrower_lanes_hold_the_nearest_number_within_the_limits() -> None:
    a = lanes("int32", 4)
    a[3:9] = -1, 0, 1, 254, 255, 256
    found = run(lambda _, a, b: a.narrowed(8, 0, 255), a, a, np.zeros(LANES, np.uint8))
    assert found.tolist() == a.clip(0, 255).tolist()
    found = run(lambda _, a, b: a.narrowed(16, -100, 100), a, a, np.zeros(LANES, np.int16))
    assert found.tolist() == a.clip(-100, 100).tolist()


def test_lanes_are_picked_by_their_numbers_from_one_vector_or_two() -> None:
    a, b = lanes("int16", 5), lanes("int16", 6)
    found = run(lambda _, a, b: a.picked(ORDER, b), a, b, np.zeros(len(ORDER), np.int16))
    assert found.tolist() == np.concatenate([a, b])[ORDER].tolist()
    own = [3, 3, 0, 15]
    found = run(lambda _, a, b: a.picked(own), a, b, np.zeros(len(own), np.int16))
    assert found.tolist() == a[own].tolist()


def test_masks_have_the_first_lane_in_the_lowest_bit() -> None:
    a = lanes("int16", 7)
    a[[4, 9]] = 77
    found = run(lambda _, a, b: a.equal_mask(77), a, a, np.zeros(1, np.uint16))
    assert [bool(found[0] >> lane & 1) for lane in range(LANES)] == (a == 77).tolist()
    a[3:7] = -101, -100, 99, 100
    found = run(lambda _, a, b: a.beyond_mask(100), a, a, np.zeros(1, np.uint16))
    assert [bool(found[0] >> lane & 1) for lane in range(LANES)] == ((a < -100) | (a >= 100)).tolist()


def test_memory_is_read_and_written_at_any_address() -> None:
    memory = np.arange(64, dtype=np.uint8)
    out = np.zeros(64, np.uint8)

    def copy(builder: Any, a: Vector, b: Vector) -> Any:
        return a

    run(copy, memory[3:], memory, out[5:])
    assert out[5 : 5 + LANES].tolist() == memory[3 : 3 + LANES].tolist()
    assert not out[:5].any() and not out[5 + LANES :].any()  # and nothing beside it
