"""The folder of a training run: who may write there, and what a resumed run finds.

RUN/
  config.json           the options and versions of the last start
  checkpoint-last.pt    the newest checkpoint, model/checkpoint.py
  metrics.jsonl         one JSON object a line, jobs/tracking.py
  tensorboard/          the same figures for TensorBoard
"""

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import Checkpoint, load_checkpoint
from pipeline.atomic import sweep, write_atomically

CHECKPOINT = "checkpoint-last.pt"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

# Options that may differ between a run and its continuation: they say where and for how long, not what is learnt.
_FREE = {"data", "out", "resume", "epochs", "max_steps", "checkpoint_every", "device", "threads"}


def enter(out: Path, *, resume: bool, options: dict[str, Any], num_classes: int, data_digest: str) -> Checkpoint | None:
    """Makes `out` ready for a run with `options`; returns the checkpoint to continue from, None for a new start.

    Raises FileExistsError where `out` holds something and `resume` is not asked for, or something that is no run.
    Raises ValueError where the checkpoint is damaged, or is of a run with other options or other data.
    """
    if out.exists() and any(out.iterdir()):
        if not resume:
            raise FileExistsError(f"{out}: not empty; give --resume to continue the run there, or another --out")
        if not (out / CONFIG).is_file():
            raise FileExistsError(f"{out}: not empty, and no run to resume (no {CONFIG}); give another --out")
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    checkpoint = None
    if (out / CHECKPOINT).is_file():
        checkpoint = load_checkpoint(out / CHECKPOINT, num_classes=num_classes)
        _check_same(out / CHECKPOINT, checkpoint, options, data_digest)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    write_atomically(out / CONFIG, json.dumps({"options": options, "versions": versions}, indent=1).encode() + b"\n")
    return checkpoint


def plain(config: Any) -> dict[str, Any]:
    """A config dataclass as what JSON can hold, paths as text."""
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def _check_same(path: Path, checkpoint: Checkpoint, options: dict[str, Any], data_digest: str) -> None:
    if checkpoint["data_digest"] != data_digest:
        raise ValueError(f"{path}: the run was trained on other data; give that --data, or another --out")
    then = checkpoint["train_config"]
    differing = [name for name, value in options.items() if name not in _FREE and then.get(name) != value]
    if differing:
        was = ", ".join(f"--{name.replace('_', '-')} {then.get(name)}" for name in differing)
        raise ValueError(f"{path}: the run was started with {was}; give the same to resume it, or another --out")
