"""From when to when an epoch needs each shard: pure integers, the same on all ranks.

The clock is the number of the global batch. All ranks of a machine then hold the same shards at the same batch, and
none waits for room that another one takes up with shards that only the other needs.
"""

from typing import NamedTuple

import numpy as np

DRIFT = 4  # batches that the ranks of a job may be apart, besides those in work


class ShardResidency(NamedTuple):
    """One row a shard that the epoch needs, in the order in which it does."""

    shard: np.ndarray  # int64, index into the manifest's shards
    num_bytes: np.ndarray  # int64
    first: np.ndarray  # int64, the first batch that reads it
    last: np.ndarray  # int64, the last batch before which it may not go

    def num_needed(self, batch: int) -> int:
        """How many shards, from the first on, must be here for `batch`."""
        return int(np.searchsorted(self.first, batch, side="right"))

    def peak(self) -> int:
        """The bytes that must be here at once, at most."""
        change = np.zeros(int(self.last.max(initial=-1)) + 2, np.int64)
        np.add.at(change, self.first, self.num_bytes)
        np.subtract.at(change, self.last + 1, self.num_bytes)
        return int(change.cumsum().max())


def residency(shards: np.ndarray, shard_bytes: np.ndarray, *, global_batch: int, ahead: int) -> ShardResidency:
    """The spans of an epoch.

    Args:
        shards: int [n], the shard of each sample that is left of the epoch, in its order.
        shard_bytes: int64 [number of shards].
        global_batch: Samples that a batch takes over all ranks.
        ahead: Batches that may be in work at once.
    """
    places = np.arange(len(shards))
    begin, end = np.full(len(shard_bytes), -1), np.full(len(shard_bytes), -1)
    end[shards] = places  # of all that are assigned to one shard, the last stays
    begin[shards[::-1]] = places[::-1]
    used = np.flatnonzero(begin >= 0)
    used = used[np.argsort(begin[used])]
    return ShardResidency(
        used, shard_bytes[used], begin[used] // global_batch, end[used] // global_batch + ahead + DRIFT
    )
