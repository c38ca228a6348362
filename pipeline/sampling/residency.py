"""From which to which batch an epoch needs each shard: pure integers, the same on all ranks.

Time is counted in global batches. So all ranks of a machine hold the same shards at the same batch, and none waits for
space that another one fills with shards that only the other needs.
"""

from typing import NamedTuple

import numpy as np

DRIFT = 4  # batches by which the ranks of a job may be apart, besides those in work


class ShardResidency(NamedTuple):
    """A row for each shard that the epoch needs, in the order in which it needs them."""

    shard: np.ndarray  # int64, index into the manifest's shards
    num_bytes: np.ndarray  # int64
    first: np.ndarray  # int64, the first batch that reads it
    last: np.ndarray  # int64, the last batch for which it must still be here

    def num_needed(self, batch: int) -> int:
        """How many shards, from the first on, must be here for `batch`."""
        return int(np.searchsorted(self.first, batch, side="right"))

    def among(self, shards: np.ndarray) -> "ShardResidency":
        """The rows of the shards for which `shards` (bool [number of shards]) is True."""
        return ShardResidency(*(column[shards[self.shard]] for column in self))

    def peak(self) -> int:
        """The bytes that must be here at once, at most."""
        change = np.zeros(int(self.last.max(initial=-1)) + 2, np.int64)
        np.add.at(change, self.first, self.num_bytes)
        np.subtract.at(change, self.last + 1, self.num_bytes)
        return int(change.cumsum().max())


def residency(shards: np.ndarray, shard_bytes: np.ndarray, *, global_batch: int, ahead: int) -> ShardResidency:
    """When an epoch needs which shard.

    Args:
        shards: int [n], the shard of each sample that is left of the epoch, in its order.
        shard_bytes: int64 [number of shards].
        global_batch: Samples that a batch takes over all ranks.
        ahead: Batches that may be in work at once.
    """
    at = np.arange(len(shards))
    begin, end = np.full(len(shard_bytes), -1), np.full(len(shard_bytes), -1)
    end[shards] = at  # of all that are assigned to one shard, the last stays
    begin[shards[::-1]] = at[::-1]
    used = np.flatnonzero(begin >= 0)
    used = used[np.argsort(begin[used])]
    return ShardResidency(
        used, shard_bytes[used], begin[used] // global_batch, end[used] // global_batch + ahead + DRIFT
    )
