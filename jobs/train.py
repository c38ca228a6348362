"""Train AlexNet on shards, on one process or many.

    torchrun --standalone --nproc_per_node=8 jobs/train.py --data /data/imagenet-256 --out /runs/a  # 8 ranks here
    torchrun --standalone --nproc_per_node=8 jobs/train.py --data /data/imagenet-256 --out /runs/a --resume

    torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \\
        jobs/train.py --data /data/imagenet-256 --out /runs/a           # the same command on each of two machines

    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun --nnodes=1:2 --max_restarts=9 --nproc_per_node=8 \\
        --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \\
        jobs/train.py --data /data/imagenet-256 --out /runs/a --resume  # goes on when one is lost, or comes back

    python jobs/train.py --data /data/imagenet-256 --out /runs/a        # one process
    torchrun --standalone --nproc_per_node=2 jobs/train.py              # the sample dataset, a minute on two CPUs

DATA holds the splits `train` and `val`; on several machines each sees them under the same path, and rank 0 alone
writes OUT. After each epoch comes validation on all ranks. A run that was stopped in any way continues with --resume
from OUT/checkpoint-last.pt, and on the same number of ranks and threads to the same weights, bit for bit (tested on
CPUs). A SIGTERM to any rank makes it save and end with status 75. `tensorboard --logdir OUT` shows its curves.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

# A submitted job runs in a copy of the checkout: that copy is what must be imported.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from jobs import run_folder
from jobs.cluster import absolute
from jobs.launch import World, by_main, joined, wait_for_all
from jobs.run_folder import CHECKPOINT, METRICS
from jobs.tracking import last_validation, tracking
from jobs.training_run import Run, Stopped
from model.checkpoint import Checkpoint
from model.metrics import chance_error
from model.parallel import Compression
from model.presets import PRESETS, Preset, num_parameters
from model.split_classifier import check_units
from pipeline import Dataset, open_dataset
from pipeline.cli import run_command
from pipeline.engines import EngineName
from pipeline.home import home, sample_shards

STOPPED = 75  # the status after a SIGTERM and a checkpoint: sysexits.h's EX_TEMPFAIL, "try again later"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Preset):
    """Train AlexNet. Without --data: on the sample dataset, with settings that learn it in a minute on a CPU.

    The defaults shown are those of such a run; with --data they are the preset's: `--data DIR --help` shows them.
    """

    preset: Literal["paper", "original-2012", "caffe", "torchvision", "modern"] = "paper"
    """Which AlexNet: sets the defaults of all options that say what is learnt; docs/presets.md compares them."""
    data: Path | None = None
    """Folder with the splits, DATA/train and DATA/val; by default the sample dataset, made if it is not there."""
    out: Path | None = None
    """Folder of the run: checkpoints, figures; for the sample dataset by default $IMAGEFEED_HOME/run."""
    resume: bool = False
    """Continue the run in OUT from its newest checkpoint; from the beginning where it has none yet."""

    max_steps: int | None = None
    """Stop after this many steps in all, with a checkpoint, even in the middle of an epoch."""
    seed: int = 0
    """Of the weights, the order, the augmentation and dropout."""

    engine: EngineName = "imagefeed"
    """Whose loader feeds the training: ours, FFCV's (betons; the same batches) or WebDataset's (tars; its own order).
    The augmentation is ours with each, so that they can be compared; validation is by our own."""
    finish: Literal["cpu", "device"] = "cpu"
    """Where mean and colour are applied; device: images cross the bus in 8 bits, and the values are the same."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What the ranks run on; auto: CUDA where there is any."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of activations and images; 16 bits are mixed precision, with float32 weights, and for CUDA only."""
    layout: Literal["NCHW", "NHWC"] = "NHWC"
    """Memory layout of images and activations; the results agree up to rounding."""
    compile: Literal["no", "default", "reduce-overhead", "max-autotune"] = "no"
    """Compile the network with torch.compile, in one of its modes; reduce-overhead makes CUDA graphs."""
    accumulate: int = 1
    """Parts in which each rank's batch goes through the network, one after the other: less memory, the same update."""
    compression: Compression = "none"
    """Of the fully connected layers' gradients, on their way between ranks."""
    classifier_parallel: bool = False
    """Each rank holds a part of the fully connected layers, for the images of all: activations travel between ranks in
    place of those layers' gradients, which is less below 4,097 images a step (model/split_classifier.py)."""
    threads: int | None = None
    """CPU threads of each rank, for the network and for decoding; by default the machine's CPUs over its ranks."""

    checkpoint_every: int | None = None
    """Steps between checkpoints within an epoch; there is one at the end of each epoch in any case."""
    keep_last: int = 0
    """Epochs whose checkpoints stay, beside the newest one and the best."""
    keep_every: int | None = None
    """Every so many epochs a checkpoint stays for good."""
    log_every: int = 50
    """Steps between records of loss and speed; there is one at the end of each epoch in any case."""
    profile: int | None = None
    """Write a trace of so many steps into OUT."""

    def __post_init__(self) -> None:
        for name in (
            *("epochs", "max_steps", "batch_size", "threads", "checkpoint_every", "keep_every", "log_every"),
            *("accumulate", "profile"),
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if self.keep_last < 0:
            raise ValueError(f"--keep-last must not be negative, not {self.keep_last}")
        if self.data is not None and self.out is None:
            raise ValueError("--data needs --out, the folder of the run")
        if self.finish == "device" and self.layout != "NHWC":
            raise ValueError("--finish device needs --layout NHWC")
        if self.classifier_parallel and (self.compression != "none" or self.dtype == "float16"):
            raise ValueError(
                "--classifier-parallel leaves no gradients for --compression, and goes with float32 and bfloat16: "
                "float16's steps would be left out by one rank alone"
            )
        if self.classifier_parallel and self.sgd == "lars":
            raise ValueError("--sgd lars needs the norms of whole layers, and --classifier-parallel cuts them up")
        if self.schedule != "steps" and self.milestones:
            raise ValueError("--milestones needs --schedule steps")
        super().__post_init__()


def defaults(preset: str, **changes: Any) -> TrainConfig:
    """The options of a run with `preset`, but for `changes`."""
    options = {field.name: getattr(PRESETS[preset], field.name) for field in fields(Preset)}
    return TrainConfig(**{**options, "preset": preset, **changes})


# The sample dataset is small and a CPU slow: a narrow network with another start learns it in a minute. Run again,
# it continues, or has nothing left to do.
ON_SAMPLE: dict[str, Any] = {
    "resume": True,
    "epochs": 20,
    "batch_size": 32,
    "schedule": "steps",
    "milestones": (16,),
    "width": 0.25,
    "initialisation": "he",
}
SAMPLE = defaults("paper", **ON_SAMPLE)


def parse(arguments: Sequence[str], *, is_main: bool = True) -> TrainConfig:
    """The options; those not given are the preset's, and without --data in part those of `ON_SAMPLE`."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    preset = words[words.index("--preset") + 1] if "--preset" in words[:-1] else "paper"
    changes = {} if "--data" in words else ON_SAMPLE
    default = defaults(preset if preset in PRESETS else "paper", **changes)  # the parser refuses another
    return tyro.cli(TrainConfig, args=arguments, default=default, console_outputs=is_main)


def main(config: TrainConfig) -> None:
    """Trains until the last epoch and says how it came out; raises what each part of it documents."""
    with joined(config.device, config.threads) as world, ExitStack() as held:
        take_part(config, world, held)


def take_part(config: TrainConfig, world: World, held: ExitStack) -> None:
    """This rank's part of the run. What it made is gone when it returns, before the process group is.

    `held` keeps the folder of the run from others, as long as the process group lives.
    """
    out = absolute(config.out) if config.out else home() / "run"
    checkpoint = by_main(world, lambda: prepare(config, world, out, held))
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
    except FloatingPointError as error:
        run.writer.wait()
        good = f"the last good checkpoint is {last_good(run, out)}" if run.saved_step else "there is no checkpoint yet"
        raise FloatingPointError(f"{error}; {good}") from None
    except (KeyboardInterrupt, Stopped) as reason:
        run.writer.wait()
        if world.is_main:
            print(
                f"stopped at step {run.step}; the same with --resume continues from {last_good(run, out)}",
                file=sys.stderr,
            )
        sys.exit(130 if isinstance(reason, KeyboardInterrupt) else STOPPED)
    if world.is_main:
        print(summary(run, out))
    wait_for_all()


def last_good(run: Run, out: Path) -> str:
    """Where a run that ended early can be taken up."""
    return f"step {run.saved_step}, {out / CHECKPOINT}" if run.saved_step else "the beginning"


def train(run: Run, out: Path) -> None:
    """Trains `run` from where it stands; rank 0 keeps the folder `out`."""
    if not run.world.is_main:
        run.go(None, None)
        return
    with tracking(out, total_steps=run.total_steps, step=run.step) as tracker:
        run.go(tracker, out)


def prepare(config: TrainConfig, world: World, out: Path, held: ExitStack) -> Checkpoint | None:
    """What rank 0 does before any other needs it: makes the sample dataset, enters the folder of the run.

    Raises ValueError where the options do not fit the processes, and what `open_splits` and `enter` raise.
    """
    if config.batch_size % (world.size * config.accumulate):
        raise ValueError(
            f"--batch-size {config.batch_size} does not divide among {world.size} ranks"
            f"{f' and {config.accumulate} parts' if config.accumulate > 1 else ''}: make it a multiple"
        )
    if config.classifier_parallel:
        check_units(config.units(4096), world.size)
    if config.dtype != "float32" and world.device.type != "cuda":
        raise ValueError(f"--dtype {config.dtype} is for CUDA, and this runs on {world.device.type}: use float32")
    if config.data is None:
        sample_shards()
    train, _ = open_splits(config)
    if config.last_batch == "drop" and config.engine == "webdataset":
        raise ValueError("batch norm needs whole batches, and --engine webdataset pads: use --engine imagefeed or ffcv")
    if config.last_batch == "drop" and len(train) < config.batch_size:
        raise ValueError(f"--batch-size {config.batch_size} is more than the {len(train)} training images: use less")
    held.enter_context(run_folder.only_run(out))
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
    num_classes = len(run.train.classes)
    return (
        f"{num_parameters(run.config, num_classes):,} parameters, {len(run.train):,} training and {len(run.val):,} "
        f"validation images of {num_classes:,} classes, ranks x threads: {run.world.size} x {run.world.num_threads} on "
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
