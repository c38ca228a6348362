"""The whole job on a small dataset: draw it, shard it, train on it, judge the network in a report.

    ./run demo

Each stage is the command that a user would type, on a Ray of the demo's own that is gone when it ends. All lies
below $IMAGEFEED_HOME/demo; another run keeps the drawn images and makes the rest anew.
"""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if not __package__:  # a script finds its own checkout: that of the submitted job, or the one it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from imagefeed.jobs.cluster.local import local_cluster
from imagefeed.jobs.cluster.processes import start
from imagefeed.jobs.report.schema import REPORT, read_report
from imagefeed.pipeline.files.locks import exclusive
from imagefeed.pipeline.files.paths import checkout, in_home
from imagefeed.pipeline.runtime.command import run_command

ENOUGH = 5  # times as many right as by chance; with less, something is broken


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Draw a small dataset, shard it, train on it, and judge the network in a report."""

    ranks: int = 2
    """Training processes."""
    epochs: int | None = None
    """Passes over the training images; by default as many as jobs/train.py makes over the sample dataset."""


@dataclass(frozen=True)
class Announcer:
    """Says what begins, and how long it is since the first thing began."""

    began: float = field(default_factory=time.monotonic)

    def __call__(self, text: str) -> None:
        print(f"\n=== {time.monotonic() - self.began:4.0f} s  {text}", file=sys.stderr, flush=True)


def main(config: DemoConfig) -> None:
    """Runs all stages. Raises RuntimeError at the first that fails, or if the network has not learnt."""
    root = checkout()
    if root is None:
        raise RuntimeError("the demo submits the checkout that it lies in: clone the repository, then ./run demo")
    folder = in_home("demo")
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / "lock", f"another demo runs in {folder}: wait for it, or set IMAGEFEED_HOME"):
        for results in ("shards", "run", "evaluation"):
            shutil.rmtree(folder / results, ignore_errors=True)
        os.environ["IMAGEFEED_HOME"] = str(folder)  # where each job reads and writes if it is told nothing else
        announce = Announcer()
        announce("1/5  a Ray on this machine, for the demo alone")
        with local_cluster() as cluster:
            for number, (title, command) in enumerate(stages(config, folder), 2):
                announce(f"{number}/5  {title}\n{shlex.join(command)}\n")
                # One thread a process is what torchrun sets by itself, but then with a warning.
                finish(command, {"OMP_NUM_THREADS": "1"} | cluster.environment, root)
        announce("done")
        print(verdict(folder / "evaluation"))


def stages(config: DemoConfig, folder: Path) -> list[tuple[str, list[str]]]:
    """What follows on the start of Ray: (title, command)."""
    submit = ["ray", "job", "submit", "--working-dir", ".", "--", "python"]
    # By its own name a machine may not find itself, and torchrun would wait for minutes.
    train = ["torchrun", "--standalone", "--local-addr=127.0.0.1", f"--nproc_per_node={config.ranks}", "jobs/train.py"]
    train += [] if config.epochs is None else [f"--epochs={config.epochs}"]
    return [
        ("draw images, packed like the ILSVRC2012 downloads", ["imagefeed", "sample", str(folder / "sample")]),
        ("images become shards", [*submit, "jobs/shard.py"]),
        ("shards feed a training run", train),
        ("the network is judged", [*submit, "jobs/evaluate.py", "--neighbours"]),
    ]


def finish(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    """Runs a command in `folder` to its end. Raises RuntimeError unless it ends well."""
    status = start(command, environment, folder).wait()
    if status:
        raise RuntimeError(f"{shlex.join(command)} ended with status {status}; what it says about it stands above")


def verdict(evaluation: Path) -> str:
    """Two lines: the errors beside chance, and where the report lies. Raises RuntimeError if they are too close."""
    report = read_report(evaluation / REPORT)
    error, chance = report.protocols[report.headline].top1.error, report.chance.top1.error
    times = (1 - error) / (1 - chance)
    text = (
        f"top-1 error {error:.1%} on {report.num_samples} images, by chance {chance:.1%}: "
        f"{times:.1f} times as many right\nreport: {evaluation / 'report.html'}"
    )
    if times < ENOUGH:
        raise RuntimeError(f"the network has not learnt what it should, {ENOUGH} times better than chance\n{text}")
    return text


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(DemoConfig)))
