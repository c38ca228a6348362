"""Which rank reads which sample, and when: pure integers, the same on one rank or on many.

An epoch is one global order of entries. An entry is a row of the table, plus the table's length for each time that the
row came before in the same epoch: without repetition entries are rows. The order is cut into global batches of
`batch_size * world_size` entries, and each rank takes its slice of every one of them, so that training sees the same
sequence of global batches on any number of ranks. A position in the epoch is the number of entries that all ranks
together have consumed: it means the same on any world size.
"""

from dataclasses import dataclass

import numpy as np

from imagefeed.pipeline.sampling.rng import CHOICE, SHARDS, order_keys

PAD = -1  # stands in a list of entries where no sample is left


def epoch_order(sample_ids: np.ndarray, *, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """The rows of an epoch in the order in which they are used (int64 [n]): a permutation of `range(n)`.

    Where a sample stands follows from keys of (seed, epoch, id): it depends neither on shards nor on rows, and leaving
    samples out keeps the order of the others.
    """
    if not shuffle:
        return np.arange(len(sample_ids))
    first = np.zeros(len(sample_ids), np.int64)
    return np.argsort(order_keys(np.uint64(seed), epoch, sample_ids, first), kind="stable")


def balanced_order(sample_ids: np.ndarray, labels: np.ndarray, *, seed: int, epoch: int, per_class: int) -> np.ndarray:
    """The entries of an epoch with `per_class` samples of every class that has any, shuffled (int64 [n]).

    Of a common class other samples come each epoch; those of a rare one come again once all of them have come.
    """
    rows = np.arange(len(sample_ids))
    # Not the keys of the order: what has the least of them, among many, would come first.
    keys = order_keys(np.uint64(seed), epoch, sample_ids, np.zeros_like(rows), CHOICE)
    by_class = np.lexsort((keys, labels))
    counts = np.bincount(labels)
    starts, counts = (np.cumsum(counts) - counts)[counts > 0, None], counts[counts > 0, None]
    turns, ranks = np.divmod(np.arange(per_class), counts)
    chosen, turns = by_class[starts + ranks].ravel(), turns.ravel()
    order = np.argsort(order_keys(np.uint64(seed), epoch, sample_ids[chosen], turns), kind="stable")
    return (turns * len(rows) + chosen)[order]


def balanced_length(labels: np.ndarray, per_class: int) -> int:
    """How many entries `balanced_order` has."""
    return per_class * len(np.unique(labels))


def shard_order(sample_ids: np.ndarray, shards: np.ndarray, *, seed: int, epoch: int, num_shards: int) -> np.ndarray:
    """As a shuffling `epoch_order`, where not all shards can be here at once: `num_shards` of them at a time.

    The shards (int [n], one number a row) are shuffled, taken in groups of `num_shards`, and the samples of each group
    are shuffled together. Where there are no more than `num_shards` shards, this is the global order itself;
    docs/remote.md has measurements of how far it is from that otherwise.
    """
    order = epoch_order(sample_ids, seed=seed, epoch=epoch, shuffle=True)
    return order[by_shards(shards[order], seed=seed, epoch=epoch, num_shards=num_shards)]


def by_shards(shards: np.ndarray, *, seed: int, epoch: int, num_shards: int) -> np.ndarray:
    """Brings the samples of a group of shards together (int64 [n]): where they stand in an order that is shuffled.

    `shards` (int [n]) are those of the samples in that order. Within a group the order stays.
    """
    numbers = np.arange(shards.max(initial=-1) + 1)
    group = np.empty(len(numbers), np.int32)
    group[np.argsort(order_keys(np.uint64(seed), epoch, numbers, np.zeros_like(numbers), SHARDS), kind="stable")] = (
        numbers // num_shards
    )
    return np.argsort(group[shards], kind="stable")


@dataclass(frozen=True, kw_only=True)
class RankSlice:
    """The part of each global batch that one rank reads: its slice of `batch_size` entries.

    Samples that do not fill a last global batch are left out with `drop_last`; otherwise they come in a batch completed
    with `PAD`. Either way every rank gets the same number of batches.
    """

    batch_size: int
    rank: int
    world_size: int
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must be in [0, {self.world_size}) (the world size), not {self.rank}")

    @property
    def global_batch(self) -> int:
        """Entries that one batch consumes over all ranks."""
        return self.batch_size * self.world_size

    def num_batches(self, num_samples: int, position: int = 0) -> int:
        """How many batches are left of an epoch of `num_samples` entries once `position` of them are consumed."""
        left = max(0, num_samples - position)
        return left // self.global_batch if self.drop_last else -(-left // self.global_batch)

    def first(self, position: int) -> int:
        """Where this rank's part of the global batch that begins at `position` begins."""
        return position + self.rank * self.batch_size

    def entries(self, order: np.ndarray, position: int) -> np.ndarray:
        """This rank's entries of the global batch that begins at `position` (int64 [batch_size]), `PAD` at the end."""
        first = self.first(position)
        mine = order[first : first + self.batch_size]
        return np.concatenate([mine, np.full(self.batch_size - len(mine), PAD)])
