"""The plan is a partition, for any size and any seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.sampling.shard_plan import costliest_first, shard_ids, split_evenly


@given(st.integers(1, 500), st.integers(1, 60), st.one_of(st.none(), st.integers(0, 2**63 - 1)))
def test_shards_partition_the_samples(num_samples: int, shard_size: int, shuffle: int | None) -> None:
    shards = shard_ids(num_samples, shard_size, shuffle)
    np.testing.assert_array_equal(np.sort(np.concatenate(shards)), np.arange(num_samples))
    sizes = [len(shard) for shard in shards]
    assert max(sizes) <= shard_size and max(sizes) - min(sizes) <= 1
    assert len(shards) == len(split_evenly(num_samples, shard_size))


def test_no_shuffle_keeps_the_order_and_seeds_differ() -> None:
    plain, first, second = (np.concatenate(shard_ids(100, 30, shuffle)) for shuffle in (None, 0, 1))
    np.testing.assert_array_equal(plain, np.arange(100))
    assert (first != plain).any() and (first != second).any()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200), st.integers(1, 60))
def test_shards_begin_in_the_order_of_their_cost(sizes: list[int], shard_size: int) -> None:
    shards = shard_ids(len(sizes), shard_size, None)
    order = costliest_first(shards, np.array(sizes))
    assert sorted(order) == list(range(len(shards)))
    costs = [sum(sizes[id] for id in shards[number]) for number in order]
    assert costs == sorted(costs, reverse=True)
