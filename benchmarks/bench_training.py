"""What a net learns by `jobs/train.py` beside what it learns by plain torch: error after each epoch, several seeds.

    python -m benchmarks.bench_training --data DIR

DIR holds shards in tar, as `imagefeed convert` writes them. The plain twin is `benchmarks/plain_training.py`: the same
net, start, losses, updates and rates, another data pipeline and other random numbers. So the curves of one seed differ,
and the means over seeds must agree within the spread of the seeds. One process, one thread; contenders alternate.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

import tyro

from benchmarks.plain_training import Plan
from benchmarks.record import record
from imagefeed.model.schedule import scaled_rate
from imagefeed.pipeline.loader.dataset import open_dataset

ROOT = Path(__file__).resolve().parents[1]
Curve = list[dict[str, float]]  # epoch, loss, top1_error, top5_error of the validation


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to train."""

    data: Path
    """A folder with the splits train and val, of tar shards."""
    presets: tuple[Literal["paper", "modern"], ...] = ("paper", "modern")
    """Which nets."""
    width: float = 0.125
    """Of the nets."""
    epochs: int = 8
    """Passes over the images."""
    batch_size: int = 32
    """Images a step."""
    seeds: int = 3
    """Runs of each preset and contender."""


def plan(config: BenchConfig, preset: str, seed: int) -> Plan:
    """A short schedule: for paper a tenth of the rate for the last quarter, for modern a warm-up of an epoch."""
    paper = preset == "paper"
    rate = 0.01 if paper else scaled_rate(0.16, batch_size=config.batch_size, reference_batch=512)
    return Plan(
        preset=preset,
        num_classes=len(open_dataset(config.data / "train").classes),
        width=config.width,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=rate,
        milestones=(config.epochs * 3 // 4,) if paper else (),
        warm_up=0 if paper else 1,
        seed=seed,
    )


def imagefeed(plan: Plan, data: Path) -> Curve:
    """By `jobs/train.py`."""
    words = ["--preset", plan.preset, "--initialisation", "he", "--width", plan.width, "--epochs", plan.epochs]
    words += ["--batch-size", plan.batch_size, "--learning-rate", plan.learning_rate, "--seed", plan.seed]
    schedule = ["--schedule", "steps", "--milestones", *plan.milestones]
    words += schedule if plan.preset == "paper" else ["--reference-batch", "None", "--warm-up", plan.warm_up]
    with tempfile.TemporaryDirectory() as folder:
        places = ["--data", data, "--out", folder, "--threads", 1, "--device", "cpu"]
        run([ROOT / "jobs" / "train.py", *places, *words])
        lines = map(json.loads, Path(folder, "metrics.jsonl").read_text().splitlines())
        return [line for line in lines if line["kind"] == "val"]


def plain(plan: Plan, data: Path) -> Curve:
    """By its plain twin."""
    told = run(["-m", "benchmarks.plain_training", json.dumps(asdict(plan)), data])
    return [json.loads(line) for line in told.splitlines()]


def run(words: list[object]) -> str:
    """What a Python process with these arguments prints."""
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


CONTENDERS = {"imagefeed": imagefeed, "plain torch": plain}


def main(config: BenchConfig) -> None:
    """Prints a row a run and the means over seeds; records each run."""
    for preset in config.presets:
        curves: dict[str, list[Curve]] = {name: [] for name in CONTENDERS}
        for seed in range(config.seeds):
            for name, train in CONTENDERS.items():
                planned = plan(config, preset, seed)
                curve = train(planned, config.data)
                curves[name].append(curve)
                errors = [round(each["top1_error"], 4) for each in curve]
                print(f"{preset:8} {name:12} seed {seed}  top-1 error by epoch {errors}", flush=True)
                kept = [{key: each[key] for key in ("loss", "top1_error", "top5_error")} for each in curve]
                record("training", name, {**asdict(planned), "curve": kept})
        for name, runs in curves.items():
            last = [curve[-1]["top1_error"] for curve in runs]
            spread = f" +- {stdev(last):.2%}" if len(last) > 1 else ""
            print(f"{preset:8} {name:12} top-1 error at the end {mean(last):.2%}{spread}")


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
