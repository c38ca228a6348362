"""Datasets that are mixed by weight: how many samples of each an epoch has, and which ones. Pure integers.

The samples of each part form a ring in a random order, and each epoch takes the next `share` of it. So all samples of a
part come before any of them comes again, within an epoch and across epochs, and which ones an epoch has still follows
from (seed, epoch) alone.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.sampling.rng import MIX, order_keys

MOST_TURNS = 2**24  # in an epoch, that the random draws tell apart


class Mixture(NamedTuple):
    """What an epoch takes of each part; the rows of the parts stand one behind the other in the table."""

    sizes: tuple[int, ...]  # samples that each part has
    shares: tuple[int, ...]  # entries of an epoch that each part gives


def shares_of(weights: Sequence[float], num_samples: int) -> tuple[int, ...]:
    """`num_samples` shared out by weight: rounded down, and the rest to the largest remainders, of equals the first.

    Weights (positive, finite) count as the decimal fractions that they are written as.
    """
    exact = [Fraction(repr(float(weight))) for weight in weights]
    total = sum(exact)
    wanted = [num_samples * weight / total for weight in exact]
    shares = [int(each) for each in wanted]
    by_remainder = sorted(range(len(shares)), key=lambda part: shares[part] - wanted[part])
    for part in by_remainder[: num_samples - sum(shares)]:
        shares[part] += 1
    return tuple(shares)


def times_taken(sample_ids: np.ndarray, share: int, *, seed: int, epoch: int) -> np.ndarray:
    """How often each sample of a part comes in an epoch that takes `share` of them (int64 [n])."""
    count = len(sample_ids)
    ring = np.argsort(order_keys(np.uint64(seed), 0, sample_ids, np.zeros(count, np.int64), MIX), kind="stable")
    (rounds_before, begin), (rounds, end) = divmod(epoch * share, count), divmod((epoch + 1) * share, count)
    times = np.full(count, rounds - rounds_before)
    times[ring[:begin]] -= 1
    times[ring[:end]] += 1
    return times


def mixed_order(sample_ids: np.ndarray, mixture: Mixture, *, seed: int, epoch: int) -> np.ndarray:
    """The entries of an epoch of a mixture, shuffled (int64 [sum of shares]), see `sampling.order`.

    Where an entry stands follows from (seed, epoch, id, turn), as in any shuffled epoch.
    """
    parts = zip(np.split(sample_ids, np.cumsum(mixture.sizes)[:-1]), mixture.shares, strict=True)
    times = np.concatenate([times_taken(ids, share, seed=seed, epoch=epoch) for ids, share in parts])
    rows = np.repeat(np.arange(len(times)), times)
    turns = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    order = np.argsort(order_keys(np.uint64(seed), epoch, sample_ids[rows], turns), kind="stable")
    return (turns * len(times) + rows)[order]
