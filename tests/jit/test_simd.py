"""Each operation on vectors is NumPy's on the same numbers, lane by lane, with the same wrapping."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit, types

from imagefeed.pipeline.jit import simd
from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.processor import vector_bits
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


@pytest.fixture(params=[0, 128, 256, 512])
def bits_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of x86's instructions; 0 is for the way of other processors, which works on this one too."""
    bits: int = request.param
    if bits > vector_bits():
        pytest.skip(f"this processor has no vectors of {bits} bits")
    monkeypatch.setattr(simd, "vector_bits", lambda: bits)
    return bits


def in_groups(a: np.ndarray) -> np.ndarray:
    """Lanes by their groups of 16 bytes."""
    return a.reshape(-1, 16 // a.itemsize)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_lanes_of_two_vectors_in_turn_group_by_group(dtype: str) -> None:
    a, b = (lanes(dtype, seed) for seed in (5, 6))
    groups = np.stack([in_groups(a), in_groups(b)], axis=-1)
    middle = groups.shape[1] // 2
    for half, expected in enumerate((groups[:, :middle], groups[:, middle:])):

        def zipped(_: Any, a: Vector, b: Vector, half: int = half) -> Vector:
            return a.zipped(b)[half]

        found = run(zipped, a, b, np.zeros(LANES, dtype))
        assert found.tolist() == expected.ravel().tolist()


@pytest.mark.parametrize(
    ("dtype", "packed"), [("int32", "int16"), ("int16", "int8"), ("int16", "uint8")], ids=lambda name: name
)
def test_lanes_of_two_vectors_become_half_as_wide(bits_at_once: int, dtype: str, packed: str) -> None:
    a, b = lanes(dtype, 7), lanes(dtype, 8)
    info = np.iinfo(packed)
    a[3:9] = info.min - 1, info.min, info.max, info.max + 1, -1, 1
    signed = info.min < 0
    expected = np.concatenate([in_groups(a), in_groups(b)], axis=1).clip(info.min, info.max)
    found = run(lambda _, a, b: a.packed(b, signed), a, b, np.zeros(2 * LANES, packed))
    assert found.tolist() == expected.ravel().tolist()


def test_neighbours_are_weighed_and_added(bits_at_once: int) -> None:
    a, b = lanes("int16", 9), lanes("int16", 10)
    b[b == -32768] = -32767  # both products of the lowest number with itself would not fit
    for operation, weights in (
        (lambda _, a, b: a.pair_sums(b), b),
        (lambda _, a, b: a.pair_sums((-25172, 3196)), np.tile([-25172, 3196], LANES // 2)),
    ):
        products = a.astype(np.int32) * weights.astype(np.int32)
        found = run(operation, a, b, np.zeros(LANES // 2, np.int32))
        assert found.tolist() == (products[::2] + products[1::2]).tolist()


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_the_upper_half_of_a_product(bits_at_once: int, dtype: str) -> None:
    a, b = lanes(dtype, 11), lanes(dtype, 12)
    signed = dtype == "int16"
    expected = (a.astype(np.int64) * b.astype(np.int64)) >> 16
    found = run(lambda _, a, b: a.high_product(b, signed), a, b, np.zeros(LANES, dtype))
    assert found.tolist() == expected.tolist()
    found = run(lambda _, a, b: a.high_product(26345), a.view(np.int16), b, np.zeros(LANES, np.int16))
    assert found.tolist() == (a.view(np.int16).astype(np.int64) * 26345 >> 16).tolist()


def test_bytes_stay_what_they_are_as_other_lanes() -> None:
    a = lanes("int16", 13)
    found = run(lambda _, a, b: a.regrouped(32), a, a, np.zeros(LANES // 2, np.int32))
    assert found.tobytes() == a.tobytes()
    assert (run(lambda _, a, b: a.filled(-7), a, a, np.zeros(LANES, np.int16)) == -7).all()
    assert run(lambda _, a, b: a & -8, a, a, np.zeros(LANES, np.int16)).tolist() == (a & -8).tolist()


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
