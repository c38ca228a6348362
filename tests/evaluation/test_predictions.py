"""Predictions: each sample in them exactly once, ranked without accident, and counted right."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.jobs.evaluation.predictions import Errors, Part, errors, joined, num_slices, rank_classes
from imagefeed.pipeline.sampling.order import PAD, RankSlice, epoch_order


@given(st.integers(1, 5000), st.integers(1, 70))
def test_slices_hold_every_sample_once_and_none_is_empty(num_samples: int, batch_size: int) -> None:
    slices = num_slices(num_samples, batch_size)
    order = epoch_order(np.arange(num_samples), seed=0, epoch=0, shuffle=False)
    seen = []
    for number in range(slices):
        share = RankSlice(batch_size=batch_size, rank=number, world_size=slices)
        batches = range(share.num_batches(num_samples))
        assert len(batches) <= 8
        rows = np.concatenate([share.entries(order, batch * share.global_batch) for batch in batches])
        assert (rows != PAD).any()
        seen.append(rows[rows != PAD])
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), order)


@given(st.integers(0, 2**32), st.integers(1, 9), st.sampled_from([1, 2, 5, 40]))
def test_ranks_follow_probability_then_index(seed: int, num_samples: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different values, so that many are equal: ties are where an order may be an accident.
    probabilities = rng.integers(0, 4, (num_samples, num_classes)).astype(np.float32) / 4
    labels = rng.integers(0, num_classes, num_samples)
    scores = rank_classes(probabilities, labels)
    for i, (row, label) in enumerate(zip(probabilities.tolist(), labels.tolist(), strict=True)):
        order = sorted(range(num_classes), key=lambda c: (-row[c], c))
        assert scores.top_classes[i].tolist() == order[:5]
        assert scores.top_probabilities[i].tolist() == [row[c] for c in order[:5]]
        assert scores.true_rank[i] == order.index(label) + 1
        assert scores.true_probability[i] == row[label]


def part_of(ids: Any, labels: np.ndarray) -> Part:
    """Scores of the samples `ids`, each a function of its id."""
    ids = np.array(ids, np.int64)
    probabilities = np.stack([np.random.default_rng(i).dirichlet(np.ones(7)) for i in ids]).astype(np.float32)
    return Part(ids, labels[ids], {"centre": rank_classes(probabilities, labels[ids])})


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 7, 20)


@pytest.fixture
def samples(labels: np.ndarray) -> pa.Table:
    keys = [f"key-{i}" for i in range(20)]
    return pa.table({"id": np.arange(20), "key": keys, "label": labels.astype(np.int32), "other": keys})


def test_joined_parts_do_not_depend_on_how_the_work_was_cut(labels: np.ndarray, samples: pa.Table) -> None:
    whole = joined([part_of(range(20), labels)], samples)
    shuffled = np.random.default_rng(4).permutation(20)
    assert joined([part_of(ids, labels) for ids in np.split(shuffled, [3, 4, 11])], samples).equals(whole)
    assert whole.column_names[:4] == ["id", "key", "label", "centre_top_classes"]
    assert whole["id"].to_pylist() == list(range(20))


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ([range(19)], r"of 20 samples 1 were not scored \(ids 19\)"),
        ([range(10, 20)], r"10 were not scored \(ids 0, 1, 2, 3, 4, \.\.\.\)"),
        ([range(20), [7, 9]], r"2 were scored more than once \(ids 7, 9\)"),
        ([range(19), [3]], r"1 were not scored \(ids 19\); 1 were scored more than once \(ids 3\)"),
    ],
)
def test_a_sample_short_or_over_is_an_error(
    cuts: list[Any], message: str, labels: np.ndarray, samples: pa.Table
) -> None:
    with pytest.raises(ValueError, match=message):
        joined([part_of(ids, labels) for ids in cuts], samples)


def test_foreign_samples_and_labels_are_errors(labels: np.ndarray, samples: pa.Table) -> None:
    with pytest.raises(ValueError, match=r"5 are not in the split \(ids 15"):
        joined([part_of(range(20), labels)], samples.slice(0, 15))
    with pytest.raises(ValueError, match="labels"):
        joined([part_of(range(20), np.roll(labels, 1))], samples)


@pytest.mark.parametrize(("wrong", "total"), [(0, 1), (1, 1), (0, 200), (3, 200), (100, 200), (20350, 50000)])
def test_the_interval_is_wilsons(wrong: int, total: int) -> None:
    expected = scipy.stats.binomtest(wrong, total).proportion_ci(method="wilson")
    low, high = Errors(wrong, total).interval()
    np.testing.assert_allclose((low, high), expected, atol=1e-12)
    assert (low == 0) == (wrong == 0), "no error at all is an exact 0, not a rounding error beside it"
    assert (high == 1) == (wrong == total)


def test_errors_are_counted(labels: np.ndarray, samples: pa.Table) -> None:
    predictions = joined([part_of(range(20), labels)], samples)
    ranks = predictions["centre_true_rank"].to_pylist()
    assert errors(predictions, "centre", 1) == Errors(sum(rank > 1 for rank in ranks), 20)
    assert errors(predictions, "centre", 5) == Errors(sum(rank > 5 for rank in ranks), 20)
