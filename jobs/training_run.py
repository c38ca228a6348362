"""A training run as one rank sees it: the network, its data, how far it has come, and the loop over epochs."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from jobs.launch import World
from jobs.run_folder import plain
from jobs.tracking import Tracker
from model import metrics
from model.alexnet import AlexNet
from model.checkpoint import FORMAT, Checkpoint, save_checkpoint
from model.optim import PaperSGD
from model.schedule import Progress, after_epoch, learning_rate
from model.training import Placement, Step, train_epoch, validate
from pipeline import Dataset

if TYPE_CHECKING:
    from jobs.train import TrainConfig


class Run:
    """The same on all ranks, but for their share of the data."""

    def __init__(self, config: "TrainConfig", world: World, train: Dataset, val: Dataset) -> None:
        self.config, self.world, self.train, self.val = config, world, train, val
        self.epoch = self.step = self.saved_step = 0  # completed, and in the newest checkpoint
        self.progress = Progress()
        self.placement = Placement(
            device=world.device, mixed=config.dtype == "bfloat16", channels_last=config.layout == "NHWC"
        )
        torch.manual_seed(config.seed)
        network = AlexNet(
            num_classes=len(train.classes),
            width=config.width,
            initialisation=config.initialisation,
            dropout=config.dropout,
        )
        self.network = self.placement.network(network)
        self.model_config = asdict(network.config)
        self.parallel = parallel(self.network, self.placement, world)
        self.optimizer = PaperSGD(
            self.network.parameters(),
            config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        options: dict[str, Any] = {
            "batch_size": config.batch_size // world.size,
            "seed": config.seed,
            "rank": world.rank,
            "world_size": world.size,
            "dtype": config.dtype,
            "layout": config.layout,
            "num_threads": world.num_threads,
            "pin_memory": world.device.type == "cuda",
        }
        self.train_loader = train.loader(recipe="alexnet", **options)
        self.val_loader = val.loader(recipe="eval", **options)

    @property
    def total_steps(self) -> int:
        """Steps at which the run is finished."""
        return min(self.config.epochs * len(self.train_loader), self.config.max_steps or sys.maxsize)

    def go(self, tracker: Tracker | None, path: Path | None) -> None:
        """Trains and validates to the end; rank 0 brings a tracker and the path for checkpoints.

        An epoch's checkpoint is written after its validation. Raises what `train_epoch` and `validate` raise.
        """
        while self.step < self.total_steps:
            self._train_epoch(tracker, path)
            if self.step == (self.epoch + 1) * len(self.train_loader):
                result = validate(self.network, self.val_loader, self.placement, num_samples=len(self.val))
                self.epoch += 1
                self.progress = after_epoch(self.config.rates, self.progress, epoch=self.epoch, error=result.top1_error)
                if tracker is not None:
                    tracker.validation(self.epoch, self.step, result)
            self._save(path)

    def _train_epoch(self, tracker: Tracker | None, path: Path | None) -> None:
        """Trains to the end of the epoch, or of the run."""
        rate = learning_rate(self.config.rates, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.train_loader.set_epoch(self.epoch)
        steps = train_epoch(
            self.parallel,
            self.train_loader,
            self.optimizer,
            self.placement,
            first_step=self.step + 1,
            seed=self.config.seed,
            rank=self.world.rank,
        )
        end = min((self.epoch + 1) * len(self.train_loader), self.total_steps)
        interval: list[Step] = []
        for step in steps:
            self.step = step.step
            interval.append(step)
            if tracker is not None:
                tracker.step(self.step)
            save = self.step < end and divides(self.config.checkpoint_every, self.step)
            # A record before each checkpoint: then the next one counts the same steps in a resumed run.
            if save or self.step == end or divides(self.config.log_every, self.step):
                self._record(tracker, interval, rate)
                interval = []
            if save:
                self._save(path)
            if self.step == self.config.max_steps:
                break
        if self.step != end:
            raise RuntimeError(f"the data of epoch {self.epoch + 1} ended at step {self.step} and not at {end}")

    def _record(self, tracker: Tracker | None, interval: list[Step], rate: float) -> None:
        means = metrics.summarise(metrics.over_ranks(torch.stack([step.counts for step in interval]).sum(0)))
        seconds = sum(step.seconds for step in interval)
        if tracker is not None:
            tracker.train(
                self.epoch + 1,
                self.step,
                means,
                lr=rate,
                images_per_second=means.num_samples / seconds,
                waiting=sum(step.seconds_waiting for step in interval) / seconds,
            )

    def _save(self, path: Path | None) -> None:
        if path is not None:
            save_checkpoint(path, self.checkpoint())
        self.saved_step = self.step

    def checkpoint(self) -> Checkpoint:
        """Where the run stands, to be saved or restored between two steps."""
        return Checkpoint(
            format=FORMAT,
            model_config=self.model_config,
            model=self.network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            schedule=asdict(self.progress),
            loader=self.train_loader.state_dict(),
            epoch=self.epoch,
            step=self.step,
            world_size=self.world.size,
            train_config=plain(self.config),
            classes=[each.wnid for each in self.train.classes],
            data_digest=self.train.manifest.digest,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes to where a run with the same options stood, on the same number of ranks exactly.

        On another number the data go on in the same order, but dropout and the order of additions differ.
        """
        self.network.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.progress = Progress(**checkpoint["schedule"])
        self.train_loader.load_state_dict(checkpoint["loader"])
        self.epoch, self.step = checkpoint["epoch"], checkpoint["step"]
        self.saved_step = self.step


def parallel(network: nn.Module, placement: Placement, world: World) -> nn.Module:
    """`network`, in its place, for training: its gradients become the means over all ranks.

    DDP lays out its buffers anew after the first backward pass, and with more than two ranks the layout decides the
    order of additions. So the first pass is made here, with one black image: all steps of a run are then alike, and
    those of a resumed run too.
    """
    if world.size == 1:
        return network
    ranked = DistributedDataParallel(network, device_ids=[world.device] if world.device.type == "cuda" else None)
    with placement.autocast():
        loss = ranked(torch.zeros(1, 3, 224, 224, device=world.device)).float().sum()
    loss.backward()
    ranked.zero_grad(set_to_none=True)
    return ranked


def divides(every: int | None, step: int) -> bool:
    """Whether `step` is one of every `every` steps; none is where `every` is None."""
    return every is not None and step % every == 0
