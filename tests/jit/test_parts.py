"""Compiled code gets parts of what it calls, one for each kind of arguments; Python gets functions, to the same end."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numba.core import event

from imagefeed.pipeline.jit.njit import inlined_njit, njit


class Compilations(event.Listener):
    """How often functions are compiled, by their names."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_start(self, event: Any) -> None:
        """Numba begins with a function."""
        self.counts[event.data["dispatcher"].py_func.__name__] += 1

    def on_end(self, event: Any) -> None:
        """Numba has compiled it."""


@pytest.fixture
def compilations():
    listener = Compilations()
    event.register("numba:compile", listener)
    yield listener.counts
    event.unregister("numba:compile", listener)


@njit
def power(base, exponent, start):
    result = start
    for _ in range(exponent):
        result = result * base
    return result


@njit
def first_of(pair):
    return pair[0]


@njit
def both(base):
    return power(base, 3, 1), power(base, exponent=2, start=base), power(base, 0, 1)


@njit
def of_literals(number):
    return first_of((number, number)) + first_of((1, number)) + first_of((0, 2))


def test_what_compiled_code_calls_is_compiled_once_and_never_for_python(compilations: Counter[str]) -> None:
    assert both(2) == (8, 8, 1)
    assert compilations == {"both": 1, "power": 1}
    assert both.signatures and not power.signatures  # of what Python could call
    assert power(2, 5, 1) == 32 and power.signatures  # it can, when it does


def test_arguments_that_are_known_share_a_part_with_those_that_are_not(compilations: Counter[str]) -> None:
    assert of_literals(5) == 5 + 1 + 0
    assert compilations["first_of"] == 1


def test_each_type_has_a_part_of_its_own(compilations: Counter[str]) -> None:
    @njit
    def twice(value):
        return value + value

    @njit
    def of_types(numbers, word):
        return twice(numbers).sum() + twice(1.5) + len(twice(word))

    assert of_types(np.arange(3), "ab") == 6 + 3 + 4
    assert compilations["twice"] == 3


def test_errors_of_a_part_reach_python() -> None:
    @njit
    def refuse(number):
        if number > 2:
            raise ValueError("too large")
        return number

    @njit
    def outer(number):
        return refuse(number) + 1

    assert outer(1) == 2
    with pytest.raises(ValueError, match="too large"):
        outer(3)


def test_what_is_always_inlined_gives_the_same_and_is_no_function_any_more() -> None:
    @inlined_njit
    def squared(number):
        return number * number

    @njit
    def sum_of_squares(numbers):
        total = 0
        for number in numbers:
            total += squared(number)
        return total

    assert sum_of_squares(np.arange(5)) == 30 and squared(7) == 49
    (code,) = sum_of_squares.inspect_llvm().values()
    assert "call" in code and not [line for line in code.splitlines() if "call" in line and "squared" in line]
