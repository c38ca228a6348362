"""The analyses of predictions, against slow twins in plain Python."""

from collections import Counter
from math import comb

import numpy as np
import pyarrow as pa
import pytest

from imagefeed.jobs.evaluation.metrics import calibration, confusions, mcnemar, mistakes
from imagefeed.jobs.evaluation.predictions import Part, joined, rank_classes

NUM_SAMPLES, NUM_CLASSES = 400, 6


@pytest.fixture(scope="module")
def made_up() -> tuple[np.ndarray, np.ndarray, pa.Table]:
    """Probabilities, labels, and the predictions that they give."""
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(NUM_CLASSES, 0.5), NUM_SAMPLES).astype(np.float32)
    labels = np.where(rng.random(NUM_SAMPLES) < 0.5, probabilities.argmax(1), rng.integers(0, NUM_CLASSES, NUM_SAMPLES))
    ids = np.arange(NUM_SAMPLES)
    samples = pa.table({"id": ids, "key": [f"k{i}" for i in ids], "label": labels})
    part = Part(sample_ids=ids, labels=labels, scores={"centre": rank_classes(probabilities, labels)})
    return probabilities, labels, joined([part], samples)


def test_calibration_is_the_slow_twins(made_up: tuple[np.ndarray, np.ndarray, pa.Table]) -> None:
    probabilities, labels, predictions = made_up
    found, ece = calibration(predictions, "centre", num_bins=10), 0.0
    for row in found.bins:
        inside = [i for i in range(NUM_SAMPLES) if row.low < probabilities[i].max() <= row.high]
        sure = sum(float(probabilities[i].max()) for i in inside) / len(inside)
        right = sum(probabilities[i].argmax() == labels[i] for i in inside) / len(inside)
        assert row.total == len(inside)
        assert (row.probability, row.accuracy) == pytest.approx((sure, right))
        ece += len(inside) / NUM_SAMPLES * abs(sure - right)
    assert sum(row.total for row in found.bins) == NUM_SAMPLES
    assert found.ece == pytest.approx(ece) and ece > 0.05


def test_a_probability_at_the_edge_of_two_bins_is_in_the_lower_one() -> None:
    labels, probabilities = np.zeros(3, np.int64), np.array([[0.5, 0.5], [0.75, 0.25], [1, 0]], np.float32)
    part = Part(sample_ids=np.arange(3), labels=labels, scores={"centre": rank_classes(probabilities, labels)})
    samples = pa.table({"id": np.arange(3), "key": ["a", "b", "c"], "label": labels})
    bins = calibration(joined([part], samples), "centre", num_bins=4).bins
    assert [(row.low, row.high, row.total) for row in bins] == [(0.25, 0.5, 1), (0.5, 0.75, 1), (0.75, 1, 1)]


def test_confusions_are_counted_and_ordered(made_up: tuple[np.ndarray, np.ndarray, pa.Table]) -> None:
    probabilities, labels, predictions = made_up
    pairs = Counter((int(a), int(p.argmax())) for a, p in zip(labels, probabilities, strict=True) if a != p.argmax())
    expected = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:7]
    found = confusions(predictions, "centre", limit=7)
    assert [((row.label, row.predicted), row.total) for row in found] == expected


def test_no_mistakes_give_no_confusions() -> None:
    labels = np.arange(3)
    part = Part(sample_ids=labels, labels=labels, scores={"centre": rank_classes(np.eye(3, dtype=np.float32), labels)})
    predictions = joined([part], pa.table({"id": labels, "key": ["a", "b", "c"], "label": labels}))
    assert confusions(predictions, "centre") == ()
    assert calibration(predictions, "centre").ece == 0


@pytest.mark.parametrize("right", [(50, 9, 2, 7), (3, 0, 12, 1), (5, 0, 0, 5), (1, 6, 6, 0)])
def test_mcnemar_counts_only_where_two_nets_differ(right: tuple[int, int, int, int]) -> None:
    both, first, second, neither = right
    ranks = {
        "net1_centre_true_rank": [1] * both + [1] * first + [2] * second + [3] * neither,
        "net2_centre_true_rank": [1] * both + [2] * first + [1] * second + [2] * neither,
    }
    found = mcnemar(pa.table(ranks), "net1-centre", "net2-centre")
    assert (found.only_first, found.only_second) == (first, second)
    tail = sum(comb(first + second, k) for k in range(min(first, second) + 1)) / 2 ** (first + second)
    assert found.p == pytest.approx(min(1, 2 * tail))  # a fair coin is symmetric: both tails are alike


def test_mistakes_are_wrong_and_the_worst_come_first(made_up: tuple[np.ndarray, np.ndarray, pa.Table]) -> None:
    probabilities, labels, predictions = made_up
    wrong = [i for i in range(NUM_SAMPLES) if probabilities[i].argmax() != labels[i]]
    found = mistakes(predictions, "centre", limit=9)
    surest = sorted(wrong, key=lambda i: (-probabilities[i].max(), i))[:9]
    hardest = sorted(wrong, key=lambda i: (probabilities[i, labels[i]], i))[:9]
    for rows, expected in ((found.surest, surest), (found.hardest, hardest)):
        assert [(row.id, row.key, row.label) for row in rows] == [(i, f"k{i}", labels[i]) for i in expected]
        for row, i in zip(rows, expected, strict=True):
            assert row.predicted == probabilities[i].argmax()
            assert row.probability == probabilities[i].max()
            assert row.true_probability == probabilities[i, labels[i]]
