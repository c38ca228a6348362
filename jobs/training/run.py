"""A training run as one rank sees it: the network, its data, how far it has come, and the loop over epochs."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.profiler import profile, schedule

from imagefeed.jobs.runs.folder import CHECKPOINT, TRACE, VERSIONED, keep, plain
from imagefeed.jobs.runs.tracker import Tracker
from imagefeed.jobs.runs.versions import versions
from imagefeed.jobs.training.distributed import Stop, World, wait_for_all
from imagefeed.model import metrics
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import FORMAT, Checkpoint, Writer
from imagefeed.model.optim import LARS, PaperSGD, parameter_groups
from imagefeed.model.parallel import Exchange, agree_on_buffers, parallel
from imagefeed.model.schedule import Progress, after_epoch, learning_rate
from imagefeed.model.split_classifier import split_classifier, split_optimizer
from imagefeed.model.training import Placement, Step, train_epoch, validate
from imagefeed.pipeline.interop.make_loader import make_loader
from imagefeed.pipeline.loader.dataset import Dataset
from imagefeed.pipeline.loader.device import to_device
from imagefeed.pipeline.loader.normalization import values_for
from imagefeed.pipeline.loader.options import LoaderOptions

if TYPE_CHECKING:
    from imagefeed.jobs.training.config import TrainConfig


class Stopped(Exception):
    """The run was asked to stop, and has saved where it stands."""


class Run:
    """The same on all ranks, but for their share of the data."""

    def __init__(self, config: "TrainConfig", world: World, train: Dataset, val: Dataset) -> None:
        self.config, self.world, self.train, self.val = config, world, train, val
        self.epoch = self.step = self.saved_step = 0  # completed, and in the newest checkpoint
        self.progress = Progress()
        self.writer, self.exchange = Writer(), Exchange(compression=config.compression)
        self.placement = Placement(
            device=world.device, dtype=getattr(torch, config.dtype), channels_last=config.layout == "NHWC"
        )
        torch.manual_seed(config.seed)
        network = AlexNet(num_classes=len(train.classes), **config.architecture)
        self.network = self.placement.network(network)
        self.model_config = asdict(network.config)
        splits = config.classifier_parallel and world.size > 1
        self.apart = split_classifier(network, self.exchange) if splits else set[str]()
        self.parallel: torch.nn.Module = self.network
        if world.size > 1:
            self.parallel = parallel(
                self.network,
                self.placement,
                input_size=config.input_size,
                exchange=self.exchange,
                apart=self.apart,
            )
        if config.compile != "no":
            self.parallel = torch.compile(self.parallel, mode=config.compile)  # type: ignore[assignment]
        self.scaler = self.placement.scaler()
        groups = parameter_groups(
            self.network,
            weight_decay=config.weight_decay,
            bias_rate=config.bias_rate,
            bias_decay=config.bias_decay,
        )
        rate, momentum = config.rates.learning_rate, config.momentum
        self.optimizer: torch.optim.Optimizer
        if config.sgd == "torch":
            self.optimizer = torch.optim.SGD(groups, rate, momentum=momentum, fused=True)
        else:
            self.optimizer = {"paper": PaperSGD, "lars": LARS}[config.sgd](groups, rate, momentum=momentum)
        if splits:
            split_optimizer(self.optimizer)
        options: dict[str, Any] = {
            "batch_size": config.batch_size // world.size,
            "crop_size": config.input_size,
            "seed": config.seed,
            "rank": world.rank,
            "world_size": world.size,
            "dtype": config.dtype,
            "layout": config.layout,
            "num_threads": world.num_threads,
            "pin_memory": world.device.type == "cuda",
        }
        here = dict(options, dtype="uint8") if config.finish == "device" else options
        loader = make_loader(
            config.engine,
            train,
            LoaderOptions(recipe=config.recipe, colour_epochs=config.colour_epochs, drop_last=config.drop_last, **here),
        )
        finish = config.dtype if config.finish == "device" else None
        self.train_loader = to_device(loader, world.device, finish=finish)
        val_loader = val.loader(recipe="eval", **values_for(val, config.recipe, config.input_size), **options)
        self.val_loader = to_device(val_loader, world.device)

    @property
    def total_steps(self) -> int:
        """Steps at which the run is finished."""
        return min(self.config.epochs * len(self.train_loader), self.config.max_steps or sys.maxsize)

    def go(self, tracker: Tracker | None, out: Path | None) -> None:
        """Trains and validates to the end; rank 0 brings a tracker and the folder for checkpoints.

        An epoch's checkpoint is written after its validation, by a thread, while the next epoch runs. Raises Stopped
        after a SIGTERM, with all that was done saved, and what `train_epoch`, `validate` and `Writer` raise.
        """
        with Stop() as stop, self._trace(out) as trace:
            while self.step < self.total_steps:
                self._train_epoch(tracker, out, stop, trace)
                best = False
                if self.step == (self.epoch + 1) * len(self.train_loader):
                    best = self._validate(tracker)
                self._save(out, epoch_ends=self.step == self.epoch * len(self.train_loader), best=best)
            self.writer.wait()

    def _train_epoch(self, tracker: Tracker | None, out: Path | None, stop: Stop, trace: "profile | None") -> None:
        """Trains to the end of the epoch, or of the run."""
        self.train_loader.set_epoch(self.epoch)
        self._set_rates()
        steps = train_epoch(
            self.parallel,
            self.train_loader,
            self.optimizer,
            self.placement,
            first_step=self.step + 1,
            seed=self.config.seed,
            rank=self.world.rank,
            accumulate=self.config.accumulate,
            label_smoothing=self.config.label_smoothing,
            scaler=self.scaler,
        )
        end = min((self.epoch + 1) * len(self.train_loader), self.total_steps)
        interval: list[Step] = []
        for step in steps:
            self.step = step.step
            interval.append(step)
            if tracker is not None:
                tracker.step(self.step)
            if trace is not None:
                trace.step()
            stopping = stop.agreed()
            save = stopping or (self.step < end and divides(self.config.checkpoint_every, self.step))
            # A record before each checkpoint: then the next one counts the same steps in a resumed run.
            if save or self.step == end or divides(self.config.log_every, self.step):
                step.check()
                self._record(tracker, interval)
                interval = []
            if save:
                self._save(out)
            if stopping:
                self.writer.wait()
                wait_for_all()  # who leaves first is noticed, and the others are told to end
                raise Stopped
            if self.step == self.config.max_steps:
                break
            self._set_rates()
        if self.step != end:
            raise RuntimeError(f"the data of epoch {self.epoch + 1} ended at step {self.step} and not at {end}")

    def _set_rates(self) -> None:
        """Gives each group of parameters its rate for the next step."""
        self.rate = learning_rate(
            self.config.rates, self.progress, step=self.step, steps_per_epoch=len(self.train_loader)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.group_rate(group["name"], group["factor"], self.rate, self.epoch + 1)

    def _validate(self, tracker: Tracker | None) -> bool:
        """Ends the epoch with its validation; returns whether it is the best so far."""
        if dist.is_initialized():
            agree_on_buffers(self.network, apart=self.apart)
        result = validate(self.network, self.val_loader, self.placement, num_samples=len(self.val))
        self.epoch += 1
        best = result.top1_error < self.progress.lowest_error
        self.progress = after_epoch(self.config.rates, self.progress, epoch=self.epoch, error=result.top1_error)
        if tracker is not None:
            tracker.validation(self.epoch, self.step, result)
        return best

    def _record(self, tracker: Tracker | None, interval: list[Step]) -> None:
        means = metrics.summarise(metrics.over_ranks(torch.stack([step.counts for step in interval]).sum(0)))
        seconds = sum(step.seconds for step in interval)
        if tracker is not None:
            tracker.train(
                self.epoch + 1,
                self.step,
                means,
                lr=self.rate,
                images_per_second=means.num_samples / seconds,
                waiting=sum(step.seconds_waiting for step in interval) / seconds,
                sent=self.exchange.num_bytes // len(interval) if self.world.size > 1 else None,
                gpu_memory=torch.cuda.max_memory_allocated() if self.world.device.type == "cuda" else None,
            )
        self.exchange.num_bytes = 0

    def _save(self, out: Path | None, *, epoch_ends: bool = False, best: bool = False) -> None:
        """Every rank comes here, and rank 0 writes."""
        checkpoint = self.checkpoint()
        if out is not None:
            epoch, config = self.epoch, self.config

            def afterwards() -> None:
                if epoch_ends:
                    keep(out, epoch, best=best, last=config.keep_last, every=config.keep_every)

            self.writer.save(out / CHECKPOINT, checkpoint, afterwards)
        self.saved_step = self.step

    def _trace(self, out: Path | None) -> "AbstractContextManager[profile | None]":
        """Records what rank 0 does in some steps after its second, where that is asked for."""
        if out is None or self.config.profile is None:
            return nullcontext()
        return profile(
            schedule=schedule(wait=1, warmup=1, active=self.config.profile, repeat=1),
            on_trace_ready=lambda trace: trace.export_chrome_trace(str(out / TRACE)),
        )

    def checkpoint(self) -> Checkpoint:
        """Where the run stands, to be saved or restored between two steps; all ranks together ask for it."""
        return Checkpoint(
            format=FORMAT,
            model_config=self.model_config,
            model=self.network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            schedule=asdict(self.progress),
            loader=self.train_loader.state_dict(),
            epoch=self.epoch,
            step=self.step,
            world_size=self.world.size,
            train_config=plain(self.config),
            classes=[each.wnid for each in self.train.classes],
            data_digest=self.train.manifest.digest,
            versions=versions(*VERSIONED),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes to where a run with the same options stood, on the same number of ranks exactly.

        On another number the data go on in the same order, but dropout and the order of additions differ.
        """
        self.network.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scaler.load_state_dict(checkpoint["scaler"])
        self.progress = Progress(**checkpoint["schedule"])
        self.train_loader.load_state_dict(checkpoint["loader"])
        self.epoch, self.step = checkpoint["epoch"], checkpoint["step"]
        self.saved_step = self.step


def divides(every: int | None, step: int) -> bool:
    """Whether `step` is one of every `every` steps; none is where `every` is None."""
    return every is not None and step % every == 0
