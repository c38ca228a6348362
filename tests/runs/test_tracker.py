"""A run's record holds every figure once, also after a restart, and is shown as it is written."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from imagefeed.jobs.runs.folder import METRICS, TENSORBOARD
from imagefeed.jobs.runs.tracker import Tracker, cut, last_validation, tracking
from imagefeed.model.metrics import Metrics


def record(tracker: Tracker, epochs: range, steps_per_epoch: int = 10) -> None:
    for epoch in epochs:
        step = epoch * steps_per_epoch
        tracker.step(step)
        tracker.train(epoch, step, Metrics(320, 2.0 / epoch, 0.5, 0.25), lr=0.01, images_per_second=99.5, waiting=0.125)
        tracker.validation(epoch, step, Metrics(200, 1.0 / epoch, 0.4, 0.2))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def test_each_record_is_a_line_of_json(tmp_path: Path) -> None:
    with tracking(tmp_path, total_steps=30, step=0) as tracker:
        record(tracker, range(1, 2))
    train, val = lines(tmp_path)
    assert train == {
        "kind": "train",
        "epoch": 1,
        "step": 10,
        "loss": 2.0,
        "top1_error": 0.5,
        "top5_error": 0.25,
        "lr": 0.01,
        "images_per_second": 99.5,
        "waiting": 0.125,
    }
    assert val == {
        "kind": "val",
        "epoch": 1,
        "step": 10,
        "loss": 1.0,
        "top1_error": 0.4,
        "top5_error": 0.2,
        "num_samples": 200,
    }


def test_a_restart_replaces_what_came_after_its_step(tmp_path: Path) -> None:
    undisturbed, resumed = tmp_path / "a", tmp_path / "b"
    for folder, first in ((undisturbed, range(1, 4)), (resumed, range(1, 3))):
        folder.mkdir()
        with tracking(folder, total_steps=30, step=0) as tracker:
            record(tracker, first)
    with (resumed / METRICS).open("a") as file:
        file.write('{"kind": "train", "epoch": 3, "step": 2')  # killed in the middle of a line
    with tracking(resumed, total_steps=30, step=10) as tracker:
        record(tracker, range(2, 4))
    assert lines(resumed) == lines(undisturbed)


def test_a_new_start_clears_the_record(tmp_path: Path) -> None:
    with tracking(tmp_path, total_steps=30, step=0) as tracker:
        record(tracker, range(1, 3))
    cut(tmp_path / METRICS, 0)
    assert lines(tmp_path) == []
    assert last_validation(tmp_path / METRICS) is None


def test_the_newest_validation_is_found(tmp_path: Path) -> None:
    assert last_validation(tmp_path / METRICS) is None
    with tracking(tmp_path, total_steps=30, step=0) as tracker:
        record(tracker, range(1, 4))
    last = last_validation(tmp_path / METRICS)
    assert last is not None
    assert (last["epoch"], last["step"], last["num_samples"]) == (3, 30, 200)


def test_tensorboard_has_the_same_figures(tmp_path: Path) -> None:
    for step, epochs in ((0, range(1, 5)), (10, range(2, 4))):  # restarted after step 10, it gets less far
        with tracking(tmp_path, total_steps=30, step=step) as tracker:
            record(tracker, epochs)
        time.sleep(1)  # TensorBoard orders files by the second in their names: no restart is as fast as this test
    events = EventAccumulator(str(tmp_path / TENSORBOARD))
    events.Reload()
    assert [(each.step, round(each.value, 5)) for each in events.Scalars("train/loss")] == [
        (10, 2.0),
        (20, 1.0),
        (30, 0.66667),
    ]
    assert {"train/lr", "train/images_per_second", "val/loss", "val/top1_error"} <= set(events.Tags()["scalars"])


def test_a_log_has_a_line_an_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tracking(tmp_path, total_steps=30, step=0) as tracker:
        record(tracker, range(1, 3))
    assert capsys.readouterr().err.splitlines() == [
        f"epoch {epoch}, step {epoch}0: loss {loss}, rate 0.01, 100 images/s, 12% waiting for data; "
        "validation top-1 error 40.0%, top-5 error 20.0%"
        for epoch, loss in ((1, "2.000"), (2, "1.000"))
    ]


def test_on_a_gpu_the_line_says_how_much_of_its_memory_was_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracking(tmp_path, total_steps=30, step=0) as tracker:
        means = Metrics(320, 2.0, 0.5, 0.25)
        tracker.train(1, 10, means, lr=0.01, images_per_second=99.5, waiting=0.125, gpu_memory=3 * 2**29)
        tracker.validation(1, 10, Metrics(200, 1.0, 0.4, 0.2))
    assert "12% waiting for data, 1.5 GiB on the GPU; validation" in capsys.readouterr().err


def test_a_terminal_has_a_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    with tracking(tmp_path, total_steps=30, step=0) as tracker:
        record(tracker, range(1, 3))
    shown = capsys.readouterr().err
    assert "epoch 2" in shown
    assert "20/30" in shown
    assert "validation top-1 error 40.0%" in shown
