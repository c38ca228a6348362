"""Which sample goes into which shard: integers in, integers out."""

from itertools import pairwise

import numpy as np

from imagefeed.pipeline.sampling.order import epoch_order


def split_evenly(count: int, largest: int) -> list[tuple[int, int]]:
    """Ranges [start, stop) that cut `count` into the fewest parts of at most `largest`, equal up to one."""
    parts = -(-count // largest)
    bounds = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))


def shard_ids(num_samples: int, shard_size: int, shuffle: int | None) -> list[np.ndarray]:
    """The sample ids of each shard, in the order they are written: int64 arrays that partition `range(num_samples)`.

    `shuffle` is the seed of a permutation, so that readers which stream shards see the classes mixed; None keeps
    the source's order.
    """
    ids = np.arange(num_samples)
    if shuffle is not None:
        ids = epoch_order(ids, seed=shuffle, epoch=0, shuffle=True)
    return [ids[start:stop] for start, stop in split_evenly(num_samples, shard_size)]


def costliest_first(shards: list[np.ndarray], sizes: np.ndarray) -> list[int]:
    """The numbers of shards (the ids of each) by the bytes of their images, most first; `sizes` (int64) is by id.

    Decoding costs time by the byte. Begun in this order, whatever is left at the end, when workers run out of work one
    after the other, is small.
    """
    cost = [int(sizes[ids].sum()) for ids in shards]
    return sorted(range(len(shards)), key=lambda number: -cost[number])
