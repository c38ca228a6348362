"""Exact shares, and every sample of a part before any comes again: within an epoch, across epochs, in a known order."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.sampling.mixture import Mixture, mixed_order, shares_of
from imagefeed.pipeline.sampling.order import epoch_order
from tests.support import reference

MIX = 9
PARTS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 25)), min_size=1, max_size=4)  # (size, share) of each
SEEDS = st.integers(0, 2**64 - 1)


def ids_of(parts: list[tuple[int, int]]) -> np.ndarray:
    """Ids of all parts, with holes."""
    return np.arange(sum(size for size, _ in parts)) * 3 + 2


def mixture_of(parts: list[tuple[int, int]]) -> Mixture:
    return Mixture(*map(tuple, zip(*parts, strict=True)))


def slow_epoch(parts: list[tuple[int, int]], seed: int, epoch: int) -> list[tuple[int, int]]:
    """(id, turn) of an epoch in its order: by walking around the rings, one sample after the other, from epoch 0."""
    ids, entries = ids_of(parts).tolist(), []
    for size, share in parts:
        part, ids = ids[:size], ids[size:]
        words = {each: reference.draw(seed, 0, each, MIX) for each in part}
        ring = sorted(part, key=lambda each: words[each][0] * 2**32 + words[each][1])
        turns: Counter[int] = Counter()
        for step in range(epoch * share, (epoch + 1) * share):
            each = ring[step % size]
            entries.append((each, turns[each]))
            turns[each] += 1
    return sorted(entries, key=lambda entry: reference.order_key(seed, epoch, *entry))


def epoch_of(parts: list[tuple[int, int]], seed: int, epoch: int) -> list[tuple[int, int]]:
    ids = ids_of(parts)
    turns, rows = np.divmod(mixed_order(ids, mixture_of(parts), seed=seed, epoch=epoch), len(ids))
    return list(zip(ids[rows].tolist(), turns.tolist(), strict=True))


@given(parts=PARTS, seed=SEEDS, epoch=st.integers(0, 40))
def test_an_epoch_is_that_of_the_slow_twin(parts: list[tuple[int, int]], seed: int, epoch: int) -> None:
    assert epoch_of(parts, seed, epoch) == slow_epoch(parts, seed, epoch)


@given(parts=PARTS, seed=SEEDS, first=st.integers(0, 2**32 - 20))
def test_all_samples_of_a_part_come_before_any_comes_again(parts: list[tuple[int, int]], seed: int, first: int) -> None:
    ids = ids_of(parts)
    ends = np.cumsum([size for size, _ in parts])[:-1]
    total: Counter[int] = Counter()
    for epoch in range(first, first + 4):
        entries = epoch_of(parts, seed, epoch)
        came = Counter(each for each, _ in entries)
        assert sorted(entries) == sorted((each, turn) for each, times in came.items() for turn in range(times))
        total += came
        for counts in (came, total):  # of this epoch, and of all since the first
            for part, (_, share) in zip(np.split(ids, ends), parts, strict=True):
                times = [counts[each] for each in part.tolist()]
                assert max(times) - min(times) <= 1
                assert sum(times) == share * (1 if counts is came else epoch - first + 1)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=SEEDS, epoch=st.integers(0, 2**32 - 1))
def test_a_mix_that_takes_all_of_each_part_once_is_the_shuffled_whole(sizes: list[int], seed: int, epoch: int) -> None:
    ids = ids_of([(size, size) for size in sizes])
    mixed = mixed_order(ids, Mixture(tuple(sizes), tuple(sizes)), seed=seed, epoch=epoch)
    assert mixed.tolist() == epoch_order(ids, seed=seed, epoch=epoch, shuffle=True).tolist()


def test_epochs_take_other_samples_and_seeds_other_rings() -> None:
    parts = [(40, 10)]
    taken = {(seed, epoch): {each for each, _ in epoch_of(parts, seed, epoch)} for seed in (1, 2) for epoch in range(4)}
    assert set().union(*(taken[1, epoch] for epoch in range(4))) == set(ids_of(parts).tolist())
    assert taken[1, 0] != taken[2, 0]


def test_parts_are_mixed_all_along_the_epoch() -> None:
    """Of a part of which a tenth is taken, samples come at the end as well as at the beginning."""
    entries = epoch_of([(2000, 200), (200, 200)], 3, 0)
    first = [each < 2000 * 3 for each, _ in entries]
    halves = sum(first[:200]), sum(first[200:])
    assert sum(halves) == 200 and min(halves) > 70


# Shares


@given(
    weights=st.lists(st.floats(1e-6, 1e6) | st.integers(1, 9), min_size=1, max_size=6),
    num_samples=st.integers(1, 10**6),
)
def test_shares_add_up_and_none_is_a_sample_off(weights: list[float], num_samples: int) -> None:
    shares, exact = shares_of(weights, num_samples), [Fraction(repr(float(weight))) for weight in weights]
    assert sum(shares) == num_samples
    wanted = [num_samples * each / sum(exact) for each in exact]
    assert all(abs(share - each) < 1 for share, each in zip(shares, wanted, strict=True))
    up = [each - int(each) for share, each in zip(shares, wanted, strict=True) if share > each]
    down = [each - int(each) for share, each in zip(shares, wanted, strict=True) if share <= each and each != int(each)]
    assert not up or not down or min(up) >= max(down)  # the largest remainders


@pytest.mark.parametrize(
    ("weights", "num_samples", "shares"),
    [
        ([0.7, 0.3], 10, (7, 3)),
        ([0.3, 0.1], 2, (2, 0)),  # of equal remainders the first: the float 0.3 is less than three times 0.1
        ([1, 1, 1], 10, (4, 3, 3)),
        ([3, 1], 2, (2, 0)),
        ([1e-300, 1e-300], 7, (4, 3)),
        ([5], 3, (3,)),
    ],
)
def test_shares_that_are_known(weights: list[float], num_samples: int, shares: tuple[int, ...]) -> None:
    assert shares_of(weights, num_samples) == shares
