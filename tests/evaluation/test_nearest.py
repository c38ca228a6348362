"""The nearest there are, as a slow search finds them, however the rows are cut up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.jobs.evaluation import nearest as module
from imagefeed.jobs.evaluation.nearest import merged, nearest


@given(st.integers(0, 2**32), st.integers(1, 40), st.lists(st.integers(0, 40), max_size=4))
def test_the_nearest_are_those_of_a_slow_search_in_any_slices(seed: int, number: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    queries, rows = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=(number, 5)).astype(np.float32)
    ids = rng.permutation(1000)[:number]
    bounds = sorted({0, number, *(cut for cut in cuts if cut < number)})
    parts = [nearest(queries, rows[a:b], ids[a:b], own=[int(ids[0])]) for a, b in zip(bounds, bounds[1:])]  # noqa: B905, RUF007
    found = merged([parts[i] for i in rng.permutation(len(parts))])
    assert found.num_searched == number
    for place, query in enumerate(queries.astype(float)):
        slow = sorted((float(np.sqrt(((query - row) ** 2).sum())), int(i)) for row, i in zip(rows, ids, strict=True))
        slow = [pair for pair in slow if pair[1] != ids[0]][:6]
        assert found.ids[place].tolist() == [i for _, i in slow]
        np.testing.assert_allclose(found.distances[place], [distance for distance, _ in slow], rtol=1e-6, atol=1e-6)


def test_equally_near_ones_come_by_id() -> None:
    same = np.ones((4, 2), np.float32)
    parts = [nearest(same[:1], same[:2], np.array([9, 3])), nearest(same[:1], same[2:], np.array([7, 1]))]
    assert merged(parts).ids.tolist() == merged(parts[::-1]).ids.tolist() == [[1, 3, 7, 9]]


def test_the_cut_changes_no_bit_and_an_equal_one_is_at_distance_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    rows = (1e3 + rng.random((3000, 300))).astype(np.float32)  # far from 0: where products would lose the difference
    queries, ids = np.concatenate([rows[:2], rows[7:8] + np.float32(1e-3)]), rng.permutation(3000)
    whole = nearest(queries, rows, ids)
    assert whole.num_searched == 3000 and whole.distances[:2, 0].tolist() == [0, 0]
    assert whole.ids[:, 0].tolist() == ids[[0, 1, 7]].tolist()
    exact = sorted(np.linalg.norm(rows.astype(np.float64) - queries[2].astype(np.float64), axis=1))[:6]
    np.testing.assert_allclose(whole.distances[2], exact, rtol=1e-12)
    for at_once in (1, 7, 5000):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        found = nearest(queries, rows, ids)
        np.testing.assert_array_equal(found.ids, whole.ids)
        np.testing.assert_array_equal(found.distances, whole.distances)


def test_among_none_there_is_nothing_near() -> None:
    found = nearest(np.ones((2, 3), np.float32), np.ones((1, 3), np.float32), np.array([4]), own=[4])
    assert found.ids.shape == found.distances.shape == (2, 0) and found.num_searched == 1
