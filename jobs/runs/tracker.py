"""What a run says about itself: metrics.jsonl, TensorBoard, and a bar on a terminal or lines in a log.

One JSON object a line; errors are fractions from 0 to 1, epochs are counted from 1, steps are those completed:

    {"kind": "train", "epoch": 1, "step": 50, "loss": 6.91, "top1_error": 0.999, "top5_error": 0.995, "lr": 0.01,
     "images_per_second": 812.4, "waiting": 0.02, "sent": 427000000, "gpu_memory": 5368709120}
    {"kind": "val", "epoch": 1, "step": 10010, "loss": 5.2, "top1_error": 0.88, "top5_error": 0.7, "num_samples": 50000}

A train line is the mean over the steps since the one before; `waiting` is the share of time in which rank 0 had
nothing to do but wait for the next batch; `sent` are the bytes a step that it sent to other ranks, by count, where
there are any; `gpu_memory` is the most that its tensors took so far, bytes, on CUDA only.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from imagefeed.jobs.runs.folder import METRICS, TENSORBOARD
from imagefeed.model.metrics import Metrics
from imagefeed.pipeline.files.atomic import write_atomically
from imagefeed.pipeline.runtime.os_errors import doing

LINE_EVERY = 10.0  # seconds between lines within an epoch, where there is no terminal


class Tracker:
    """Writes the figures of one run into its folder and shows them on standard error."""

    def __init__(self, folder: Path, board: SummaryWriter, bar: Progress | None, total_steps: int, step: int) -> None:
        self._path = folder / METRICS
        self._board = board
        self._bar = bar
        self._task = bar.add_task("", total=total_steps, completed=step, figures="") if bar else None
        self._last_train = ""
        self._last_line = time.monotonic()

    def step(self, step: int) -> None:
        """Moves the bar to `step`."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=step)

    def train(
        self,
        epoch: int,
        step: int,
        means: Metrics,
        *,
        lr: float,
        images_per_second: float,
        waiting: float,
        sent: int | None = None,
        gpu_memory: int | None = None,
    ) -> None:
        """Records the means since the last such record."""
        figures = {"loss": means.loss, "top1_error": means.top1_error, "top5_error": means.top5_error, "lr": lr}
        figures |= {"images_per_second": images_per_second, "waiting": waiting}
        figures |= {} if sent is None else {"sent": sent}
        figures |= {} if gpu_memory is None else {"gpu_memory": gpu_memory}
        self._record("train", epoch, step, figures)
        self._last_train = (
            f"loss {means.loss:.3f}, rate {lr:g}, {images_per_second:,.0f} images/s, {waiting:.0%} waiting for data"
        )
        if sent is not None:
            self._last_train += f", {sent / 1e6:,.1f} MB a step sent"
        if gpu_memory is not None:
            self._last_train += f", {gpu_memory / 2**30:.1f} GiB on the GPU"
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=f"epoch {epoch}", figures=self._last_train)
        elif time.monotonic() - self._last_line > LINE_EVERY:
            self._say(f"epoch {epoch}, step {step}: {self._last_train}")

    def validation(self, epoch: int, step: int, result: Metrics) -> None:
        """Records the validation after `epoch`."""
        self._record("val", epoch, step, result._asdict())
        self._say(
            f"epoch {epoch}, step {step}: {self._last_train}; "
            f"validation top-1 error {result.top1_error:.1%}, top-5 error {result.top5_error:.1%}"
        )

    def _record(self, kind: str, epoch: int, step: int, figures: dict[str, Any]) -> None:
        with doing("written", self._path), self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, "epoch": epoch, "step": step, **figures}) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint that follows must not know more than the record
        with doing("written", self._board.log_dir):
            for name, value in figures.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def _say(self, line: str) -> None:
        self._last_line = time.monotonic()
        if self._bar:
            self._bar.console.print(line, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def tracking(folder: Path, *, total_steps: int, step: int) -> Iterator[Tracker]:
    """A tracker for a run that stands at `step` of `total_steps`; what was recorded of later steps is cut off."""
    cut(folder / METRICS, step)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, {task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with _without_traceback():
        with doing("written", folder / TENSORBOARD):
            board = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)
        try:
            if sys.stderr.isatty():
                with Progress(*columns, console=Console(stderr=True)) as bar:
                    yield Tracker(folder, board, bar, total_steps, step)
            else:
                yield Tracker(folder, board, None, total_steps, step)
        finally:
            with doing("written", board.log_dir):
                board.close()


@contextmanager
def _without_traceback() -> Iterator[None]:
    """What ends the thread in which TensorBoard writes is raised at the next record: it is not printed as well."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not type(arguments.thread).__module__.startswith("tensorboard."):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def cut(path: Path, step: int) -> None:
    """Keeps of a metrics file the lines of steps up to `step`; one that a kill left unfinished goes as well."""
    if path.is_file():
        with doing("read", path):
            lines = path.read_bytes().splitlines(keepends=True)
        write_atomically(path, b"".join(line for line in lines if line.endswith(b"\n") and _step(line) <= step))


def last_validation(path: Path) -> dict[str, Any] | None:
    """The newest validation in a metrics file; None before the first."""
    if not path.is_file():
        return None
    with doing("read", path):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    return next((line for line in reversed(lines) if line["kind"] == "val"), None)


def _step(line: bytes) -> int:
    return int(json.loads(line)["step"])
