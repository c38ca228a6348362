"""A loader's state against a slow twin that only counts: any sequence of epochs begun, left, saved and loaded."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.sampling.state import Cursor, Resumable

MOST = 10  # samples of an epoch
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 4), st.integers(0, 5)),  # batches of a size, so many, then left
        st.tuples(st.just("whole"), st.integers(1, 12), st.just(0)),  # batches of a size to the end of the epoch
        st.tuples(st.just("made"), st.just(0), st.just(0)),  # an iterator that is asked for nothing takes nothing
        st.tuples(st.just("set"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("load"), st.integers(0, 3), st.integers(0, MOST)),
    ),
    max_size=12,
)


def read(cursor: Cursor, size: int, count: int) -> None:
    for _ in range(count):
        cursor.advance(size, MOST)


class Twin:
    """What the next `for` gives, in words: an epoch and a position, and whether somebody has them already."""

    def __init__(self) -> None:
        self.epoch, self.position, self.taken = 0, 0, False

    def next(self) -> tuple[int, int]:
        return (self.epoch + 1, 0) if self.taken else (self.epoch, self.position)

    def set_epoch(self, epoch: int) -> None:
        if self.taken or self.epoch != epoch:
            self.epoch, self.position = epoch, 0
        self.taken = False


@given(steps=STEPS)
def test_any_sequence_is_that_of_the_slow_twin(steps: list[tuple[str, int, int]]) -> None:
    loader, twin = Resumable(5, MOST, "data"), Twin()
    for step, a, b in steps:
        if step in ("read", "whole"):
            cursor, at = loader.take(), twin.next()
            assert (cursor.epoch, cursor.position) == at
            twin.epoch, twin.taken = at[0], True
            count = b if step == "read" else -(-(MOST - at[1]) // a)
            read(cursor, a, count)
            twin.position = min(MOST, at[1] + a * count)
            if step == "whole":
                cursor.end_epoch()
                twin.epoch, twin.position, twin.taken = at[0] + 1, 0, False
        elif step == "made":
            cursor = loader.peek()
            assert (cursor.epoch, cursor.position) == twin.next()
        elif step == "set":
            loader.set_epoch(a)
            twin.set_epoch(a)
        else:
            loader.load_state_dict({"seed": 5, "epoch": a, "position": b})
            twin.epoch, twin.position, twin.taken = a, b, False
        assert loader.state_dict() == {"seed": 5, "epoch": twin.epoch, "position": twin.position}


@given(position=st.integers(0, MOST), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**32 - 1))
def test_a_state_that_is_loaded_is_the_state_that_was_saved(seed: int, epoch: int, position: int) -> None:
    state = {"seed": seed, "epoch": epoch, "position": position}
    loader = Resumable(0, MOST, "data")
    loader.load_state_dict(state)
    assert loader.state_dict() == state
    cursor = loader.take()
    assert (cursor.seed, cursor.epoch, cursor.position) == (seed, epoch, position)


@given(epoch=st.integers(0, 3), position=st.integers(0, MOST), other=st.integers(0, 3))
def test_a_position_that_was_loaded_stays_when_its_epoch_is_set(epoch: int, position: int, other: int) -> None:
    loader = Resumable(0, MOST, "data")
    loader.load_state_dict({"seed": 0, "epoch": epoch, "position": position})
    loader.sampler.set_epoch(other)
    cursor = loader.take()
    assert (cursor.epoch, cursor.position) == (other, position if other == epoch else 0)
    read(cursor, MOST, 1)
    assert loader.state_dict() == {"seed": 0, "epoch": other, "position": MOST}
    loader.set_epoch(other)  # now that somebody has it, the next `for` has the epoch again
    assert loader.take().position == 0 and cursor.position == MOST


def test_an_iterator_of_an_earlier_epoch_does_not_move_the_state() -> None:
    loader = Resumable(0, MOST, "data")
    first, second = loader.take(), loader.take()
    read(first, 3, 2)
    first.end_epoch()
    assert loader.state_dict() == {"seed": 0, "epoch": 1, "position": 0}
    read(second, 3, 2)
    assert loader.state_dict() == {"seed": 0, "epoch": 1, "position": 6}


def test_an_epoch_that_ends_twice_counts_once() -> None:
    cursor = Resumable(0, MOST, "data").take()
    cursor.end_epoch()
    cursor.end_epoch()
    assert cursor.epoch == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda loader: loader.set_epoch(-1), r"epoch must be in \[0, 2\*\*32\), not -1"),
        (lambda loader: loader.set_epoch(2**32), "epoch must be in"),
        (lambda loader: loader.load_state_dict({"seed": 2**64, "epoch": 0, "position": 0}), "out of range"),
        (lambda loader: loader.load_state_dict({"seed": 0, "epoch": 0, "position": MOST + 1}), "of data: it belongs"),
        (lambda loader: loader.load_state_dict({"seed": 0, "epoch": 0}), "has the integers seed, epoch, position"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(wrong: Callable[[Resumable], None], words: str) -> None:
    loader = Resumable(3, MOST, "data")
    with pytest.raises(ValueError, match=words):
        wrong(loader)
    assert loader.state_dict() == {"seed": 3, "epoch": 0, "position": 0}
