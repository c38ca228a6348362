"""Errors are counts: they add in any grouping, agree with a slow twin, and no tie or NaN flatters a network."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from imagefeed.model.metrics import chance_error, count, over_ranks, rank_of_label, summarise, zero

CPU = torch.device("cpu")


def slow_rank(logits: list[float], label: int) -> int:
    """The label's place when classes are sorted by falling logit, stably."""
    return sorted(range(len(logits)), key=lambda each: -logits[each]).index(label)


# Few different values, so that ties are common.
LOGITS = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=9)


@given(LOGITS, st.data())
def test_the_rank_is_the_place_in_a_stable_sort(logits: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(logits) - 1))
    assert rank_of_label(torch.tensor([logits]), torch.tensor([label])).item() == slow_rank(logits, label)


def batch(num_samples: int, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(num_samples, num_classes, generator=generator)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    return logits, labels, torch.ones(num_samples, dtype=torch.bool)


def test_counts_agree_with_a_slow_twin() -> None:
    logits, labels, valid = batch(200, 12)
    ranks = [slow_rank(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    loss = sum(
        math.log(sum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    )
    result = summarise(count(logits, labels, valid))
    assert result.num_samples == 200
    assert result.top1_error == sum(rank >= 1 for rank in ranks) / 200
    assert result.top5_error == sum(rank >= 5 for rank in ranks) / 200
    assert result.loss == pytest.approx(loss / 200, rel=1e-6)


def test_counts_add_in_any_grouping() -> None:
    logits, labels, valid = batch(101, 7)
    whole = count(logits, labels, valid)
    parts = zero(CPU)
    for rows in torch.randperm(101, generator=torch.Generator().manual_seed(0)).split(13):
        parts += count(logits[rows], labels[rows], valid[rows])
    assert parts[:3].tolist() == whole[:3].tolist()
    assert parts[3].item() == pytest.approx(whole[3].item())


def test_padded_rows_count_for_nothing_whatever_they_hold() -> None:
    logits, labels, valid = batch(8, 6)
    expected = count(logits[:5], labels[:5], valid[:5])
    valid[5:], labels[5:], logits[5:] = False, -100, torch.nan
    assert torch.equal(count(logits, labels, valid), expected)
    assert torch.equal(count(logits, labels, torch.zeros(8, dtype=torch.bool)), zero(CPU))


@pytest.mark.parametrize("num_classes", [1, 2, 5, 6, 20])
def test_a_network_that_says_nothing_is_at_chance(num_classes: int) -> None:
    labels = torch.arange(num_classes)
    result = summarise(count(torch.zeros(num_classes, num_classes), labels, torch.ones_like(labels, dtype=torch.bool)))
    assert result.top1_error == pytest.approx(chance_error(num_classes, 1))
    assert result.top5_error == pytest.approx(chance_error(num_classes, 5))  # 0 for five classes and fewer


def test_a_logit_that_is_not_a_number_is_an_error() -> None:
    logits = torch.full((1, 8), torch.nan)
    result = summarise(count(logits, torch.tensor([0]), torch.tensor([True])))
    assert result.top1_error == result.top5_error == 1
    logits = torch.zeros(1, 8)
    logits[0, 3] = torch.nan
    assert rank_of_label(logits, torch.tensor([0])).item() == 1


def test_half_precision_is_judged_in_float32() -> None:
    logits, labels, valid = batch(64, 1000)
    half = logits.bfloat16()
    assert torch.equal(count(half, labels, valid), count(half.float(), labels, valid))


def test_alone_the_sums_over_ranks_are_ones_own() -> None:
    counts = count(*batch(5, 6))
    assert torch.equal(over_ranks(counts), counts)


def test_a_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no valid sample"):
        summarise(zero(CPU))
