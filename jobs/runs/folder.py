"""The folder of a training run: who may write there, and what a resumed run finds.

RUN/
  config.json           the options and versions of the last start
  checkpoint-last.pt    the newest checkpoint, model/checkpoint.py
  checkpoint-best.pt    that of the epoch with the lowest validation error
  checkpoint-epoch-0030.pt   that of epoch 30; which are kept is said by --keep-last and --keep-every
  metrics.jsonl         one JSON object a line, jobs/runs/tracker.py
  tensorboard/          the same figures for TensorBoard
  trace.json            of a few steps, with --profile; for Perfetto or chrome://tracing
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagefeed.jobs.runs.versions import versions
from imagefeed.model.checkpoint import Checkpoint, load_checkpoint
from imagefeed.pipeline.files.atomic import atomic, sweep, write_atomically
from imagefeed.pipeline.files.locks import exclusive

CHECKPOINT = "checkpoint-last.pt"
BEST = "checkpoint-best.pt"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
TRACE = "trace.json"
VERSIONED = ("torch",)  # the packages that a run's result depends on, beside its options and its data

# Options that may differ between a run and its continuation: they say where and for how long, not what is learnt.
_FREE = {"data", "out", "resume", "epochs", "max_steps", "device", "threads", "accumulate", "profile"}
_FREE |= {"checkpoint_every", "keep_last", "keep_every", "classifier_parallel"}


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
    content = {"options": options, "versions": versions(*VERSIONED)}
    write_atomically(out / CONFIG, json.dumps(content, indent=1).encode() + b"\n")
    return checkpoint


def started_with(out: Path) -> dict[str, Any] | None:
    """The options of the last start of the run in `out`, as `plain` makes them; None where no run is there.

    Raises ValueError where their file is damaged.
    """
    try:
        options = json.loads((out / CONFIG).read_bytes())["options"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{out / CONFIG} cannot be read ({error}): give all options, or another --out") from error
    if not isinstance(options, dict):
        raise ValueError(f"{out / CONFIG} holds no options: give all of them, or another --out")
    return options


@contextmanager
def only_run(out: Path, patience: float = 60.0) -> Iterator[None]:
    """Holds the folder for this run, and makes it if it is not there.

    Another one there, such as ranks that an elastic restart has given up but that do not know it yet, is waited for;
    RuntimeError after `patience` seconds. The kernel takes the lock back from a process that dies.
    """
    out.mkdir(parents=True, exist_ok=True)
    refusal = f"{out}: another run is writing there; wait for its end, or give another --out"
    with exclusive(out, refusal, patience):
        yield


def keep(out: Path, epoch: int, *, best: bool, last: int, every: int | None) -> None:
    """Gives the newest checkpoint, of `epoch`, the further names that it deserves, and removes others that lost theirs.

    last: how many epochs keep their checkpoint.   every: epochs whose number it divides keep it for good.   best: it is
    the best so far. A further name is a hard link: it costs no space until the newest is another.
    """
    if best:
        _link(out / CHECKPOINT, out / BEST)
    if epoch in kept([epoch], last, every):
        _link(out / CHECKPOINT, out / f"checkpoint-epoch-{epoch:04d}.pt")
    named = {int(match[1]): path for path in out.iterdir() if (match := _EPOCH.fullmatch(path.name))}
    for lost in set(named) - kept(list(named), last, every):
        named[lost].unlink()


def kept(epochs: list[int], last: int, every: int | None) -> set[int]:
    """Those of `epochs` that the rule of `keep` keeps."""
    return set(sorted(epochs)[len(epochs) - min(last, len(epochs)) :]) | {e for e in epochs if every and e % every == 0}


_EPOCH = re.compile(r"checkpoint-epoch-(\d{4,})\.pt")


def _link(path: Path, name: Path) -> None:
    with atomic(name) as temporary:
        os.link(path, temporary)


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
    if then.get("preset") != options.get("preset"):
        raise ValueError(
            f"{path}: the run was started with --preset {then.get('preset')}, not {options.get('preset')}; "
            "give the same to resume it, or another --out"
        )
    free = _FREE - {"epochs"} if options.get("schedule") == "cosine" else _FREE  # a cosine's rates depend on its end
    differing = [name for name, value in options.items() if name not in free and then.get(name) != value]
    if differing:
        was = ", ".join(f"--{name.replace('_', '-')} {then.get(name)}" for name in differing)
        raise ValueError(
            f"{path}: the run was started with {was}; give the same to resume it (--out and --resume alone do), or "
            "another --out"
        )
