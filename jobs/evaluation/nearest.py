"""The nearest of some features by Euclidean distance: exact, and the same to the last bit however they are cut up.

Every one is looked at: no index pays for a few queries. Equally near ones come by their ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_NEAREST = 6  # as many as the paper's Figure 4 shows
AT_ONCE = 64  # rows, whose differences from a query then stay in the cache: 2 MB at width 1


@dataclass(frozen=True)
class Nearest:
    """For each of q queries its nearest samples, at most `NUM_NEAREST`, the nearest first, equally near ones by id."""

    ids: np.ndarray  # int64 [q, k]
    distances: np.ndarray  # float64 [q, k], Euclidean
    num_searched: int  # samples that were looked at


def nearest(queries: np.ndarray, rows: np.ndarray, ids: np.ndarray, own: Sequence[int] = ()) -> Nearest:
    """The nearest of `rows` (float32 [n, d]), samples `ids` (int64 [n]), to each of `queries` (float32 [q, d]).

    `own`: the samples that the queries are, left out; none where they are of another split.
    """
    kept = np.flatnonzero(~np.isin(ids, own))
    found = Nearest(np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0)), len(ids))
    for start in range(0, len(kept), AT_ONCE):
        chosen = kept[start : start + AT_ONCE]
        distances = np.stack([distances_from(query, rows[chosen]) for query in queries])
        found = merged([found, Nearest(np.tile(ids[chosen], (len(queries), 1)), distances, 0)])
    return found


def distances_from(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How far `rows` (float32 [n, d]) are from `query` (float32 [d]): float64 [n], 0 for an equal one."""
    differences = rows - query.astype(np.float64)
    return np.asarray(np.sqrt(np.square(differences, out=differences).sum(axis=1)))


def merged(parts: Sequence[Nearest]) -> Nearest:
    """The nearest of all parts, at least one, in whatever order they come."""
    ids = np.concatenate([part.ids for part in parts], axis=1)
    distances = np.concatenate([part.distances for part in parts], axis=1)
    order = np.lexsort((ids, distances), axis=1)[:, :NUM_NEAREST]
    ids, distances = (np.take_along_axis(of, order, axis=1) for of in (ids, distances))
    return Nearest(ids, distances, sum(part.num_searched for part in parts))
