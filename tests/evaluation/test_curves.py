"""Training curves from a run's metrics: the right figures, few points, and charts of one run or of several."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.jobs.evaluation.curves import Record, parts, read_metrics, training_curves
from imagefeed.jobs.report.schema import Curves, ValPoint
from imagefeed.jobs.report.training_charts import rate_axis, training_charts
from imagefeed.jobs.report.vega import static_svg
from tests.support.made_up import made_up_metrics


def test_a_resumed_run_gives_the_curves_of_an_undisturbed_one() -> None:
    records = made_up_metrics()
    stale = [{**record, "loss": 99.0} for record in records if record["step"] in (20, 21)]
    assert training_curves([*stale, *records]) == training_curves(records)


def test_points_are_means_of_records_and_lie_in_their_middle() -> None:
    rng = np.random.default_rng(2)
    records: list[Record] = [
        {"kind": "train", "epoch": 1 + s // 100, "step": s, "loss": rng.random(), "lr": rng.random()}
        for s in range(1, 401)
    ]
    val = {"kind": "val", "epoch": 4, "step": 400, "loss": 1.0, "top1_error": 0.5, "top5_error": 0.2}
    found = training_curves([*records, val], most=40)
    assert found.val == (ValPoint(epoch=4, step=400, loss=1.0, top1_error=0.5, top5_error=0.2),)
    assert len(found.train) == 40
    for place, point in enumerate(found.train):
        ten = records[10 * place : 10 * place + 10]
        losses = [record["loss"] for record in ten]
        assert (point.loss_low, point.loss_high) == (min(losses), max(losses))
        assert point.loss == pytest.approx(np.mean(losses))
        assert point.lr == pytest.approx(np.mean([record["lr"] for record in ten]))
        assert point.step == 10 * place + 5.5
        assert point.waiting is None, "which none of the records has"
        assert point.epoch == pytest.approx(point.step / 100)
    short = training_curves([*records[:7], val], most=40).train
    assert [point.loss for point in short] == [record["loss"] for record in records[:7]], "a short run as it is"


@given(st.integers(0, 3000), st.integers(1, 300))
def test_parts_hold_everything_once_and_none_is_empty(number: int, most: int) -> None:
    found = parts(number, most)
    assert [i for low, high in found for i in range(low, high)] == list(range(number))
    assert all(low < high for low, high in found) and len(found) <= most


def test_without_a_validation_there_are_no_curves() -> None:
    assert training_curves([record for record in made_up_metrics() if record["kind"] == "train"]) == Curves(
        train=(), val=()
    )
    assert training_charts({"net 1": Curves(train=(), val=())}, 0.9) == []


def test_behind_the_loss_lies_all_that_its_points_are_the_mean_of() -> None:
    curves = training_curves(made_up_metrics())
    far = replace(curves.train[3], loss_low=-70.0, loss_high=80.0)  # beyond all others: the axis must reach there
    curves = replace(curves, train=(*curves.train[:3], far, *curves.train[4:]))
    drawn = static_svg(training_charts({"A": curves}, 0.9)[0])
    assert ">80<" in drawn and ">\N{MINUS SIGN}60<" in drawn


def test_rates_stand_at_powers_of_ten() -> None:
    curves = training_curves([record | {"lr": 0.02 * 10 ** -(record["step"] // 10)} for record in made_up_metrics()])
    (drawn,) = (static_svg(each) for each in training_charts({"A": curves}, 0.9) if each.name == "lr")
    assert re.findall(r">(0\.0\d*)<", drawn) == ["0.0001", "0.001", "0.01"]
    assert rate_axis({"A": training_curves(made_up_metrics())}) == {"tickCount": 3, "format": "~g"}, "one rate"


def test_several_runs_share_their_charts() -> None:
    curves = training_curves(made_up_metrics())
    one, two = training_charts({"A": curves}, 0.9), training_charts({"A": curves, "B": curves}, 0.9)
    assert [chart.name for chart in one] == [chart.name for chart in two]
    assert [chart.name for chart in one] == ["loss", "error", "lr", "images-per-second", "waiting"]
    for single, both in zip(one, two, strict=True):
        rows, twice = (chart.spec["data"]["values"] for chart in (single, both))
        assert twice.count(rows[0]) == 1 and len(twice) == 2 * len(rows)
        assert {row["run"] for row in twice} == {"A", "B"}


def test_metrics_a_line_being_written_does_not_count_but_a_bad_one_does(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        read_metrics(path)
