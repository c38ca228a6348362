"""Every sample exactly once, the same global sequence on any world size, and resuming anywhere."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.sampling.order import PAD, RankSlice, balanced_order, epoch_order
from tests.support import reference

SMALL = list(itertools.product(range(14), range(1, 5), range(1, 5), (False, True)))


def shares(batch_size: int, world_size: int, drop_last: bool) -> list[RankSlice]:
    return [
        RankSlice(batch_size=batch_size, rank=rank, world_size=world_size, drop_last=drop_last)
        for rank in range(world_size)
    ]


def global_batches(order: np.ndarray, ranks: list[RankSlice], position: int = 0) -> list[np.ndarray]:
    """What all ranks read, batch after batch, the ranks side by side."""
    step = ranks[0].global_batch
    count = ranks[0].num_batches(len(order), position)
    return [np.concatenate([rank.entries(order, position + step * i) for rank in ranks]) for i in range(count)]


@pytest.mark.parametrize("drop_last", [False, True])
def test_the_ranks_together_read_the_order_once_and_pad_at_its_end(drop_last: bool) -> None:
    for num_samples, batch_size, world_size, _ in [case for case in SMALL if case[3] == drop_last]:
        order = np.random.default_rng(num_samples).permutation(num_samples)
        ranks = shares(batch_size, world_size, drop_last)
        batches = global_batches(order, ranks)
        step = batch_size * world_size
        assert all(len(batch) == step for batch in batches)
        assert len(batches) == (num_samples // step if drop_last else -(-num_samples // step))
        read = np.concatenate([np.empty(0, np.int64), *batches])
        kept = num_samples // step * step if drop_last else num_samples
        assert read[:kept].tolist() == order[:kept].tolist()
        assert (read[kept:] == PAD).all()


def test_resuming_at_any_batch_on_any_world_size_goes_on_with_the_same_sequence() -> None:
    for num_samples, batch_size, world_size, drop_last in SMALL:
        order = np.random.default_rng(num_samples).permutation(num_samples)
        before = shares(batch_size, world_size, drop_last)
        for done in range(before[0].num_batches(num_samples) + 1):
            position = min(num_samples, done * before[0].global_batch)
            for other_world in (1, 2, 3):
                after = global_batches(order, shares(batch_size, other_world, False), position)
                rest = np.concatenate([np.empty(0, np.int64), *after])
                assert rest[rest != PAD].tolist() == order[position:].tolist()


@given(ids=st.sets(st.integers(0, 2**62), max_size=40), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**32 - 1))
def test_the_order_is_that_of_the_slow_twin_whatever_the_ids(ids: set[int], seed: int, epoch: int) -> None:
    table = np.array(sorted(ids), np.int64)
    order = epoch_order(table, seed=seed, epoch=epoch, shuffle=True)
    assert table[order].tolist() == reference.epoch_ids(sorted(ids), seed, epoch)


@given(num_samples=st.integers(2, 200), left_out=st.integers(0, 199), seed=st.integers(0, 99))
def test_leaving_a_sample_out_keeps_the_order_of_the_others(num_samples: int, left_out: int, seed: int) -> None:
    ids = np.arange(num_samples)
    fewer = np.delete(ids, left_out % num_samples)
    whole = ids[epoch_order(ids, seed=seed, epoch=1, shuffle=True)]
    part = fewer[epoch_order(fewer, seed=seed, epoch=1, shuffle=True)]
    assert part.tolist() == [i for i in whole if i != left_out % num_samples]


def test_without_shuffling_the_order_is_that_of_the_table() -> None:
    assert epoch_order(np.array([3, 5, 9]), seed=1, epoch=1, shuffle=False).tolist() == [0, 1, 2]


def test_epochs_and_seeds_differ() -> None:
    ids = np.arange(30)
    orders = {tuple(epoch_order(ids, seed=seed, epoch=epoch, shuffle=True)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"rank": 2}, r"rank must be in \[0, 2\)"),
        ({"rank": -1}, "rank must be in"),
        ({"world_size": 0}, "rank must be in"),
    ],
)
def test_a_share_that_cannot_be_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RankSlice(**({"batch_size": 1, "rank": 0, "world_size": 2} | options))


def test_balanced_epochs_mix_common_classes_with_rare_ones() -> None:
    """Where a class stands does not depend on how many samples it has."""
    labels = np.repeat([0, 1, 2], [1000, 10, 3])
    places = np.zeros(3)
    for epoch in range(100):
        order = balanced_order(np.arange(len(labels)), labels, seed=5, epoch=epoch, per_class=10)
        places += [np.mean(np.flatnonzero(labels[order % len(labels)] == label)) for label in range(3)]
    # The mean of 10 of 30 places has a deviation of 30 / sqrt(12 * 10) * sqrt(20 / 29): 2.3, of 100 such means 0.23.
    assert np.abs(places / 100 - 14.5).max() < 4 * 0.23
