"""Train AlexNet on shards, on one process or many.

    torchrun --standalone --nproc_per_node=8 jobs/train.py --data /data/imagenet-256 --out /runs/a  # 8 ranks here
    torchrun --standalone --nproc_per_node=8 jobs/train.py --data /data/imagenet-256 --out /runs/a --resume

    torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \\
        jobs/train.py --data /data/imagenet-256 --out /runs/a           # the same command on each of two machines

    python jobs/train.py --data /data/imagenet-256 --out /runs/a        # one process
    torchrun --standalone --nproc_per_node=2 jobs/train.py              # the sample dataset, a minute on two CPUs

DATA holds the splits `train` and `val`; on several machines each sees them under the same path, and rank 0 alone
writes OUT. After each epoch comes validation on all ranks. A run that was stopped in any way continues with --resume
from OUT/checkpoint-last.pt, and on the same number of ranks and threads to the same weights, bit for bit (tested on
CPUs). `tensorboard --logdir OUT` shows its curves.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# A submitted job runs in a copy of the checkout: that copy is what must be imported.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from jobs import run_folder
from jobs.cluster import absolute
from jobs.launch import World, by_main, joined, wait_for_all
from jobs.run_folder import CHECKPOINT, METRICS
from jobs.tracking import last_validation, tracking
from jobs.training_run import Run
from model.checkpoint import Checkpoint
from model.metrics import chance_error
from model.schedule import Schedule
from pipeline import Dataset, open_dataset
from pipeline.cli import run_command
from pipeline.home import home, sample_shards


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train AlexNet. Without --data: on the sample dataset, with settings that learn it in a minute on a CPU.

    The defaults shown are those of such a run; with --data they are the paper's: `--data DIR --help` shows them.
    """

    data: Path | None = None
    """Folder with the splits, DATA/train and DATA/val; by default the sample dataset, made if it is not there."""
    out: Path | None = None
    """Folder of the run: checkpoints, figures; for the sample dataset by default $IMAGEFEED_HOME/run."""
    resume: bool = False
    """Continue the run in OUT from its newest checkpoint; from the beginning where it has none yet."""

    epochs: int = 90
    """Passes over the training images, in all."""
    max_steps: int | None = None
    """Stop after this many steps in all, with a checkpoint, even in the middle of an epoch."""
    batch_size: int = 128
    """Images a step, over all ranks together."""
    seed: int = 0
    """Of the weights, the order, the augmentation and dropout."""

    learning_rate: float = 0.01
    """Rate before any reduction."""
    momentum: float = 0.9
    """Share of its velocity that a weight keeps from step to step."""
    weight_decay: float = 0.0005
    """Pull of weights towards 0, times the rate."""
    schedule: Literal["plateau", "steps"] = "plateau"
    """When the rate is divided by 10: as the validation error stalls (the paper's way), or after given epochs."""
    patience: int = 5
    """For plateau: epochs without a new lowest validation error before a reduction, of which there are at most 3."""
    milestones: tuple[int, ...] = ()
    """For steps: the epochs, counted from 1, after which the rate is divided."""

    width: float = 1.0
    """Factor on the number of channels and units of every layer; 1 is the paper's network."""
    initialisation: Literal["paper", "he"] = "paper"
    """First weights: the paper's, or scaled by each layer's inputs, which learns from the first step on."""
    dropout: float = 0.5
    """Chance of a unit of the two hidden layers to be left out in a step."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What the ranks run on; auto: CUDA where there is any."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of activations and images; bfloat16 is mixed precision, with float32 weights, and for CUDA only."""
    layout: Literal["NCHW", "NHWC"] = "NHWC"
    """Memory layout of images and activations; the results agree up to rounding."""
    threads: int | None = None
    """CPU threads of each rank, for the network and for decoding; by default the machine's CPUs over its ranks."""
    checkpoint_every: int | None = None
    """Steps between checkpoints within an epoch; there is one at the end of each epoch in any case."""
    log_every: int = 50
    """Steps between records of loss and speed; there is one at the end of each epoch in any case."""

    def __post_init__(self) -> None:
        for name in ("epochs", "max_steps", "batch_size", "threads", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if self.data is not None and self.out is None:
            raise ValueError("--data needs --out, the folder of the run")
        if self.schedule == "plateau" and self.milestones:
            raise ValueError("--milestones needs --schedule steps")
        _ = self.rates  # checks its own fields

    @property
    def rates(self) -> Schedule:
        return Schedule(
            kind=self.schedule,
            learning_rate=self.learning_rate,
            patience=self.patience,
            milestones=self.milestones,
        )


# The sample dataset is small and a CPU slow: a narrow network with another start learns it in a minute. Run again,
# it continues, or has nothing left to do.
SAMPLE = TrainConfig(
    resume=True,
    epochs=20,
    batch_size=32,
    schedule="steps",
    milestones=(16,),
    width=0.25,
    initialisation="he",
)


def parse(arguments: Sequence[str], *, is_main: bool = True) -> TrainConfig:
    """The options; those not given are the paper's with --data, and those of `SAMPLE` without."""
    on_sample = not any(argument.split("=")[0] == "--data" for argument in arguments)
    default = SAMPLE if on_sample else TrainConfig()
    return tyro.cli(TrainConfig, args=arguments, default=default, console_outputs=is_main)


def main(config: TrainConfig) -> None:
    """Trains until the last epoch and says how it came out; raises what each part of it documents."""
    with joined(config.device, config.threads) as world:
        take_part(config, world)


def take_part(config: TrainConfig, world: World) -> None:
    """This rank's part of the run. What it made is gone when it returns, before the process group is."""
    out = absolute(config.out) if config.out else home() / "run"
    checkpoint = by_main(world, lambda: prepare(config, world, out))
    if config.data is None and world.local_rank == 0:
        sample_shards()  # rank 0 has made it; another machine may not have it yet
    wait_for_all()
    run = Run(config, world, *open_splits(config))
    if checkpoint is not None:
        run.restore(checkpoint)
    if world.is_main:
        print(introduction(run), file=sys.stderr, flush=True)
    try:
        train(run, out)
    except KeyboardInterrupt:
        if world.is_main:
            saved = f"step {run.saved_step}, {out / CHECKPOINT}" if run.saved_step else "the beginning"
            print(f"stopped at step {run.step}; the same with --resume continues from {saved}", file=sys.stderr)
        sys.exit(130)
    if world.is_main:
        print(summary(run, out))
    wait_for_all()


def train(run: Run, out: Path) -> None:
    """Trains `run` from where it stands; rank 0 keeps the folder `out`."""
    if not run.world.is_main:
        run.go(None, None)
        return
    with tracking(out, total_steps=run.total_steps, step=run.step) as tracker:
        run.go(tracker, out / CHECKPOINT)


def prepare(config: TrainConfig, world: World, out: Path) -> Checkpoint | None:
    """What rank 0 does before any other needs it: makes the sample dataset, enters the folder of the run.

    Raises ValueError where the options do not fit the processes, and what `open_splits` and `enter` raise.
    """
    if config.batch_size % world.size:
        raise ValueError(
            f"--batch-size {config.batch_size} does not divide among {world.size} ranks: make it a multiple"
        )
    if config.dtype != "float32" and world.device.type != "cuda":
        raise ValueError(f"--dtype {config.dtype} is for CUDA, and this runs on {world.device.type}: use float32")
    if config.data is None:
        sample_shards()
    train, _ = open_splits(config)
    return run_folder.enter(
        out,
        resume=config.resume,
        options=run_folder.plain(config),
        num_classes=len(train.classes),
        data_digest=train.manifest.digest,
    )


def open_splits(config: TrainConfig) -> tuple[Dataset, Dataset]:
    """The training and the validation split. Raises ValueError where their classes differ."""
    data = absolute(config.data) if config.data else home() / "shards"
    train, val = open_dataset(data / "train"), open_dataset(data / "val")
    if train.classes != val.classes:
        raise ValueError(f"{data}: train and val have different classes; convert both from one source")
    return train, val


def introduction(run: Run) -> str:
    """One line: what is trained on what, by whom."""
    num_parameters = sum(weight.numel() for weight in run.network.parameters())
    return (
        f"{num_parameters:,} parameters, {len(run.train):,} training and {len(run.val):,} validation images of "
        f"{len(run.train.classes):,} classes, ranks x threads: {run.world.size} x {run.world.num_threads} on "
        f"{run.world.device.type}, step {run.step:,} of {run.total_steps:,}"
    )


def summary(run: Run, out: Path) -> str:
    """One line: how good the network is, and what guessing would reach."""
    last, num_classes = last_validation(out / METRICS), len(run.train.classes)
    if last is None:
        return f"step {run.step}, before the first validation: {out / CHECKPOINT}"
    return (
        f"top-1 error {last['top1_error']:.1%} (chance {chance_error(num_classes, 1):.1%}), "
        f"top-5 error {last['top5_error']:.1%} (chance {chance_error(num_classes, 5):.1%}) "
        f"on {last['num_samples']:,} validation images after epoch {last['epoch']}: {out / CHECKPOINT}"
    )


def command() -> None:
    """The script: what `run_command` does not know of is handled here."""
    is_main = os.environ.get("RANK", "0") == "0"
    try:
        main(parse(sys.argv[1:], is_main=is_main))
    except FloatingPointError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        if is_main:
            raise
        sys.exit(130)  # the user hears of it once


if __name__ == "__main__":
    run_command(command)
