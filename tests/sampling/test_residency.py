"""A shard is here for every batch that reads it, on any rank, and no shard is asked for that nobody reads."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.sampling.residency import DRIFT, ShardResidency, residency

CASES = {
    "shards": st.lists(st.integers(0, 5), max_size=40),
    "global_batch": st.integers(1, 9),
    "ahead": st.integers(1, 4),
}
BYTES = np.array([7, 1, 100, 0, 30, 5])


def batches_of(shards: list[int], global_batch: int) -> list[set[int]]:
    """The shards of each global batch, by cutting the order into pieces."""
    return [set(shards[start : start + global_batch]) for start in range(0, len(shards), global_batch)]


@given(**CASES)
def test_a_shard_is_here_from_its_first_batch_until_no_rank_can_still_be_at_its_last(
    shards: list[int], global_batch: int, ahead: int
) -> None:
    found = residency(np.array(shards, np.int64), BYTES, global_batch=global_batch, ahead=ahead)
    batches = batches_of(shards, global_batch)
    assert sorted(found.shard.tolist()) == sorted(set(shards))  # each once
    assert found.num_bytes.tolist() == BYTES[found.shard].tolist()
    for shard, first, last in zip(found.shard.tolist(), found.first, found.last, strict=True):
        read = [number for number, needed in enumerate(batches) if shard in needed]
        assert (first, last) == (read[0], read[-1] + ahead + DRIFT)


@given(**CASES)
def test_shards_come_in_the_order_in_which_samples_need_them(shards: list[int], global_batch: int, ahead: int) -> None:
    found = residency(np.array(shards, np.int64), BYTES, global_batch=global_batch, ahead=ahead)
    assert found.shard.tolist() == list(dict.fromkeys(shards))


@given(**CASES)
def test_what_is_needed_for_a_batch_is_what_all_batches_up_to_it_read(
    shards: list[int], global_batch: int, ahead: int
) -> None:
    found = residency(np.array(shards, np.int64), BYTES, global_batch=global_batch, ahead=ahead)
    seen: set[int] = set()
    for number, needed in enumerate(batches_of(shards, global_batch)):
        seen |= needed
        assert set(found.shard[: found.num_needed(number)].tolist()) == seen


@given(spans=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=6))
def test_the_peak_is_the_most_that_any_batch_has_here(spans: list[tuple[int, int, int]]) -> None:
    first, length, size = np.array(sorted(spans)).T
    found = ShardResidency(np.arange(len(spans)), size, first, first + length)
    here = [int(size[(first <= batch) & (batch <= first + length)].sum()) for batch in range(11)]
    assert found.peak() == max(here)


def test_an_epoch_without_samples_needs_no_shard() -> None:
    found = residency(np.zeros(0, np.int64), BYTES, global_batch=3, ahead=1)
    assert len(found.shard) == 0 and found.peak() == 0 and found.num_needed(0) == 0
