"""What a run's `metrics.jsonl` says, as curves that a page can hold: a few hundred points, however long the run was."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from imagefeed.jobs.report.schema import Curves, TrainPoint, ValPoint
from imagefeed.pipeline.runtime.os_errors import doing

Record = dict[str, Any]

MOST_POINTS = 200  # of a training curve: every other pixel of a chart
FIGURES = ("top1_error", "top5_error", "lr", "images_per_second", "waiting")  # see jobs/runs/tracker.py


def read_metrics(path: Path) -> list[Record]:
    """The records of a `metrics.jsonl`, none where there is no such file.

    A last line without its end is one that is being written, or was cut off by a kill: it does not count. Any
    other line that is not JSON raises `ValueError`.
    """
    if not path.is_file():
        return []
    with doing("read", path):
        lines = path.read_text().split("\n")[:-1]
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is not JSON ({error}): move the file away") from error
    return records


def training_curves(records: Sequence[Record], most: int = MOST_POINTS) -> Curves:
    """The curves of a run, both empty before the first validation.

    A training point is the mean of several records where there are more than `most`; its epoch has a fraction. A run
    that was resumed has written some steps twice: the last record of a step counts.
    """
    train, val = by_step(records, "train"), by_step(records, "val")
    if not val:
        return Curves(train=(), val=())
    epochs_per_step = val[-1]["epoch"] / val[-1]["step"]
    names = ("epoch", "step", "loss", "top1_error", "top5_error")
    return Curves(
        train=tuple(mean_of(train[low:high], epochs_per_step) for low, high in parts(len(train), most)),
        val=tuple(ValPoint(**{name: record[name] for name in names}) for record in val),
    )


def by_step(records: Sequence[Record], kind: str) -> list[Record]:
    """The last record of each step of a kind, in the order of steps."""
    latest = {record["step"]: record for record in records if record["kind"] == kind}
    return [latest[step] for step in sorted(latest)]


def parts(number: int, most: int) -> list[tuple[int, int]]:
    """`number` things in a row as at most `most` parts of nearly one size, none empty: (first, past the last)."""
    bounds = np.linspace(0, number, min(number, most) + 1).round().astype(int).tolist()
    return list(pairwise(bounds))


def mean_of(records: Sequence[Record], epochs_per_step: float) -> TrainPoint:
    """Several records, at least one, as one point, which lies in their middle."""
    losses = [record["loss"] for record in records]
    step = float(np.mean([record["step"] for record in records]))
    means = {
        name: float(np.mean([record[name] for record in records])) if name in records[0] else None for name in FIGURES
    }
    return TrainPoint(
        step=step,
        loss_low=min(losses),
        loss_high=max(losses),
        loss=float(np.mean(losses)),
        **means,
        epoch=step * epochs_per_step,
    )
