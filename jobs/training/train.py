"""From options to a trained net: the folder, the splits, the run, and how it ended."""

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

from imagefeed.jobs.runs import folder
from imagefeed.jobs.runs.folder import CHECKPOINT, METRICS
from imagefeed.jobs.runs.tracker import last_validation, tracking
from imagefeed.jobs.training.config import TrainConfig
from imagefeed.jobs.training.distributed import World, by_main, process_group, wait_for_all
from imagefeed.jobs.training.run import Run, Stopped
from imagefeed.model.checkpoint import Checkpoint
from imagefeed.model.metrics import chance_error
from imagefeed.model.presets import num_parameters
from imagefeed.model.split_classifier import check_units
from imagefeed.pipeline.convert.sample_data import sample_shards
from imagefeed.pipeline.files.paths import absolute, home, in_home
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset

STOPPED = 75  # the status after a SIGTERM and a checkpoint: sysexits.h's EX_TEMPFAIL, "try again later"


def main(config: TrainConfig) -> None:
    """Trains until the last epoch and says how it came out; raises what each part of it documents."""
    with process_group(config.device, config.threads) as world, ExitStack() as held:
        take_part(config, world, held)


def take_part(config: TrainConfig, world: World, held: ExitStack) -> None:
    """This rank's part of the run. What it made is gone when it returns, before the process group is.

    `held` keeps the folder of the run from others, as long as the process group lives.
    """
    out = absolute(config.out) if config.out else in_home("run")
    # The options are those of rank 0: to resume a run it has read them in its folder, which others need not see.
    checkpoint, config = by_main(world, lambda: (prepare(config, world, out, held), config))
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
                f"stopped at step {run.step}; --out {shlex.quote(str(out))} --resume continues from "
                f"{last_good(run, out)}",
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
    if config.drop_last and config.engine == "webdataset":
        raise ValueError("batch norm needs whole batches, and --engine webdataset pads: use --engine imagefeed or ffcv")
    if config.drop_last and len(train) < config.batch_size:
        raise ValueError(f"--batch-size {config.batch_size} is more than the {len(train)} training images: use less")
    held.enter_context(folder.only_run(out))
    return folder.enter(
        out,
        resume=config.resume,
        options=folder.plain(config),
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
