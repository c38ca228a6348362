"""Two evaluations beside each other: what both wrote, tested as it stands there, and refused where it does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagefeed.jobs.evaluation.compare import comparison, read_evaluation
from imagefeed.jobs.evaluation.config import EvaluateConfig
from imagefeed.jobs.evaluation.evaluate import compare
from imagefeed.jobs.evaluation.predictions import Part, Scores, joined, rank_classes
from imagefeed.jobs.evaluation.summary import protocol_result
from imagefeed.jobs.report.comparison_page import render_comparison
from imagefeed.jobs.report.comparison_schema import Comparison
from imagefeed.jobs.report.schema import DenseCrops, Protocol, from_text, to_text
from imagefeed.pipeline.files.hashing import file_sha256
from tests.support.made_up import NUM_SAMPLES, PROTOCOLS, made_up_report
from tests.support.pages import DARK, Page, seen

NUM_CLASSES = 12


def write_evaluation(folder: Path, seed: int, names: tuple[Protocol, ...] = PROTOCOLS, **changes: Any) -> Path:
    """An evaluation that was never made, as jobs/evaluate.py would leave it; better than chance by `seed` of 10."""
    rng = np.random.default_rng(seed)
    labels = np.arange(NUM_SAMPLES) % NUM_CLASSES
    probabilities = rng.dirichlet(np.ones(NUM_CLASSES), NUM_SAMPLES)
    probabilities[np.arange(NUM_SAMPLES), labels] += (rng.random(NUM_SAMPLES) < seed / 10) * 1.0
    scores: dict[str, Scores] = {name: rank_classes(probabilities.astype(np.float32), labels) for name in names}
    keys = [f"val/{i:03d}" for i in range(NUM_SAMPLES)]
    samples = pa.table({"id": np.arange(NUM_SAMPLES), "key": keys, "label": labels.astype(np.int32)})
    predictions = joined([Part(np.arange(NUM_SAMPLES), labels, scores)], samples)
    folder.mkdir(parents=True)
    pq.write_table(predictions, folder / "predictions.parquet")
    fields: dict[str, Any] = {
        "protocols": {name: protocol_result(predictions, name, 0, NUM_CLASSES, {}) for name in names},
        "predictions_sha256": file_sha256(folder / "predictions.parquet"),
    }
    (folder / "report.json").write_text(to_text(replace(made_up_report(), **fields | changes)))
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    curves = made_up_report().training["net 1"]
    several = {f"net {number}": curves for number in (1, 2, 3)}
    other = write_evaluation(tmp_path / "run" / "evaluation", 6, training=several)
    return write_evaluation(tmp_path / "one", 3), other.parent


def test_the_comparison_is_what_the_predictions_say(two: tuple[Path, Path]) -> None:
    one, other = map(read_evaluation, two)
    found = comparison(one, other)
    assert list(found.protocols) == list(PROTOCOLS) and found.headline == "ten-crop"
    for name, entry in found.protocols.items():
        right = [np.array(each.predictions[f"{name.replace('-', '_')}_true_rank"]) == 1 for each in (one, other)]
        assert entry.test.only_first == (right[0] & ~right[1]).sum()
        assert entry.test.only_second == (right[1] & ~right[0]).sum()
        assert 0 < entry.test.p < 0.05
        assert [entry.errors[label].top1.wrong for label in "AB"] == [(~each).sum() for each in right]
    labels = np.array(one.predictions["label"])
    for row in found.classes:
        inside = labels == row.label
        errors = [(np.array(each.predictions["ten_crop_true_rank"])[inside] > 1).mean() for each in (one, other)]
        assert (row.A, row.B, row.change) == pytest.approx((*errors, errors[1] - errors[0]))
    changes = [row.change for row in found.classes]
    assert changes == sorted(changes) and changes[0] < 0


def test_the_page_shows_both_and_a_browser_draws_it(two: tuple[Path, Path], tmp_path: Path) -> None:
    compare(two, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.html", "compare.json"]
    written = (tmp_path / "out" / "compare.json").read_bytes()
    found = from_text(written, Comparison, "compare.json", "compare again")
    html = (tmp_path / "out" / "compare.html").read_text()
    assert html == render_comparison(found)
    page = Page(html)
    words = page.words
    for entry in found.protocols.values():
        for label in "AB":
            assert f"{100 * entry.errors[label].top1.error:.1f} %" in words
        assert f"{entry.test.only_first} {entry.test.p:.2g}" in words
    changes, lists = found.classes, []
    for title, rows in (
        ("Better in B", [row for row in changes if row.change < 0][:10]),
        ("Worse in B", [row for row in changes[::-1] if row.change > 0][:10]),
    ):
        assert rows
        listed = (f"{row.words} {100 * row.A:.0f} % → {100 * row.B:.0f} %" for row in rows)
        assert f"{title} {' '.join(listed)}" in words
        lists += [f"width:{100 * abs(row.change):.2f}%" for row in rows]
    assert page.styles("bar") == lists
    rates = [found.protocols["ten-crop"].errors[label].top1 for label in "AB"]
    spans = [(100 * rate.low, 100 * (rate.high - rate.low)) for rate in rates]
    assert page.styles("interval") == [f"left:{low:.2f}%;width:{width:.2f}%" for low, width in spans]
    assert page.styles("dot") == [f"left:{100 * rate.error:.2f}%" for rate in rates]
    for shown in seen(tmp_path, html, widths=(390, 1000), options=DARK):
        assert shown["needed"] <= shown["width"]
        assert shown["charts"] == ["loss", "error", "lr", "images-per-second", "waiting", "class-changes"]
        assert shown["dead"] == 0
        assert shown["cut"] == [], "a legend of many words stays within its card"
        assert "run\t" in shown["told"]


def test_what_does_not_fit_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    one = read_evaluation(two[0])
    other_split = replace(one.report.data, digest="9" * 64)
    with pytest.raises(ValueError, match=r"one and .*elsewhere were judged on different splits \(digests dddddddddddd"):
        comparison(one, read_evaluation(write_evaluation(tmp_path / "elsewhere", 5, data=other_split)))
    none_shared = {"dense": one.report.protocols["centre"]}
    with pytest.raises(ValueError, match="different protocols"):
        comparison(one, read_evaluation(write_evaluation(tmp_path / "another", 5, protocols=none_shared)))
    with pytest.raises(FileNotFoundError, match=r"nothing holds no evaluation(.|\n)*jobs/evaluate\.py"):
        read_evaluation(tmp_path / "nothing")
    (two[0] / "predictions.parquet").write_bytes((two[1] / "evaluation" / "predictions.parquet").read_bytes())
    with pytest.raises(ValueError, match="is not what report.json beside it speaks of"):
        read_evaluation(two[0])
    (two[0] / "report.json").write_text("{}")
    with pytest.raises(ValueError, match=r"one.report\.json cannot be read \(split is missing\): evaluate again"):
        read_evaluation(two[0])


def test_dense_crops_are_compared_with_the_same_ones_alone(tmp_path: Path) -> None:
    first, again, other = (
        read_evaluation(
            write_evaluation(tmp_path / name, 5, names=("centre", "dense"), dense=DenseCrops(sides=(256, side), grid=3))
        )
        for name, side in (("first", 288), ("again", 288), ("other", 320))
    )
    assert list(comparison(first, again).protocols) == ["centre", "dense"]
    assert list(comparison(first, other).protocols) == ["centre"]


@pytest.mark.parametrize("more", [{"checkpoint": (Path("a"),), "data": Path("b")}, {"out": None}])
def test_compare_goes_with_out_alone(more: dict[str, Any]) -> None:
    options: dict[str, Any] = {"compare": (Path("x"), Path("y")), "out": Path("z")} | more
    with pytest.raises(ValueError, match="compare takes two evaluations and --out"):
        EvaluateConfig(**options)
