"""Datasets that are mixed by weight: how many samples of each an epoch has, and which ones. Pure integers.

Each part is gone through again and again, every pass in an order of its own, and an epoch takes the next `share`
samples of each part. So every sample of a part comes before any of them comes again, within epochs and across them,
and which ones an epoch has still follows from (seed, epoch) alone.
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


def times_before(sample_ids: np.ndarray, num_drawn: int, seed: int) -> np.ndarray:
    """How often each sample of a part came among the first `num_drawn` that were taken of it (int64 [n])."""
    number, rest = divmod(num_drawn, len(sample_ids))
    times = np.full(len(sample_ids), number)
    if rest:
        keys = order_keys(np.uint64(seed), number, sample_ids, np.zeros(len(sample_ids), np.int64), MIX)
        times[np.argsort(keys, kind="stable")[:rest]] += 1
    return times


def mixed_order(sample_ids: np.ndarray, mixture: Mixture, *, seed: int, epoch: int) -> np.ndarray:
    """The entries of an epoch of a mixture, shuffled (int64 [sum of shares]), see `sampling.order`.

    Where an entry stands follows from (seed, epoch, id, turn), as in any shuffled epoch.
    """
    ends = np.cumsum(mixture.sizes)[:-1]
    times = np.concatenate(
        [
            times_before(ids, (epoch + 1) * share, seed) - times_before(ids, epoch * share, seed)
            for ids, share in zip(np.split(sample_ids, ends), mixture.shares, strict=True)
        ]
    )
    rows = np.repeat(np.arange(len(times)), times)
    turns = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    order = np.argsort(order_keys(np.uint64(seed), epoch, sample_ids[rows], turns), kind="stable")
    return (turns * len(times) + rows)[order]
