"""Training and validation as loops over batches, whoever makes them.

A batch is anything with `images` float [B, 3, H, W] (or [B, H, W, 3], see `Placement`), `labels` int64 [B],
`sample_ids` int64 [B] and `valid` bool [B].
"""

import hashlib
import math
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import functional
from torch.optim import Optimizer

from imagefeed.model import metrics

NUM_NAMED = 16  # samples that an error names


class Batch(Protocol):
    """What the loops read of a batch."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def sample_ids(self) -> Tensor: ...
    @property
    def valid(self) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and in which precision the network runs.

    With a `dtype` of 16 bits torch chooses per operation between it and float32; weights and their updates stay
    float32. With `channels_last` the images arrive as [B, H, W, 3] and are passed on without a copy.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        mixed = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype) if mixed else nullcontext()

    def scaler(self) -> GradScaler:
        """Of the loss: float16's gradients would be 0 without it. It does nothing for the other types."""
        return GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def network(self, model: nn.Module) -> nn.Module:
        """Moves `model` to its place."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(device=self.device, memory_format=layout)  # type: ignore[call-overload]

    def batch(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(images [B, 3, H, W], labels, valid) on the device; the label of a padded row is the ignored one."""
        images, labels, valid = (
            part.to(self.device, non_blocking=True) for part in (batch.images, batch.labels, batch.valid)
        )
        if self.channels_last:
            images = images.permute(0, 3, 1, 2)
        return images, labels.masked_fill(~valid, metrics.IGNORED), valid


class Diverged(FloatingPointError):
    """A loss that is not finite: at which step, and on which samples of this rank."""


class Step(NamedTuple):
    """One finished step on this rank."""

    step: int  # from 1
    counts: Tensor  # metrics.count of this rank's part of the batch, before the update
    seconds: float  # the whole step
    seconds_waiting: float  # of these, for the batch to come
    losses: Tensor  # of each row, float32 [B]
    sample_ids: Tensor  # of each row

    def check(self) -> None:
        """Raises Diverged unless the loss is finite. Waits for the device."""
        if not math.isfinite(total := self.losses.sum().item()):
            bad = ~self.losses.isfinite().cpu()
            ids = self.sample_ids.cpu()[bad if bad.any() else slice(None)].tolist()
            more = f" and {len(ids) - NUM_NAMED} more" if len(ids) > NUM_NAMED else ""
            raise Diverged(
                f"step {self.step}: the loss is {total} on sample {', '.join(map(str, ids[:NUM_NAMED]))}{more}; "
                "try a lower learning rate"
            )


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: Optimizer,
    placement: Placement,
    *,
    first_step: int = 1,
    seed: int = 0,
    rank: int = 0,
    accumulate: int = 1,
    label_smoothing: float = 0.0,
    scaler: GradScaler | None = None,
) -> Iterator[Step]:
    """Makes one update for each batch and yields after it; the caller logs, saves, sets rates or stops in between.

    Dropout draws from torch's generator, which is seeded anew for each step by (seed, step, rank): a run that
    starts again in the middle draws what it would have drawn.
    The loss is the sum over valid rows divided by the number of all rows, padding included. So each sample weighs
    the same whichever batch it lands in, and the mean over ranks that DDP takes is the mean over the whole batch,
    also where padding falls on one rank only.
    A batch goes through the network in `accumulate` equal parts, one after the other, whose gradients are added: the
    update is that of the whole batch up to rounding (but batch norm sees the parts), in less memory.
    Raises Diverged with the step and its samples where a loss is not finite: on a CPU before the update, on a GPU
    after the next step was launched, so that the GPU never waits; `Step.check` asks earlier.
    """
    model.train()
    scaler = scaler or placement.scaler()
    waits = placement.device.type == "cpu"
    started = time.perf_counter()
    iterator = iter(batches)
    number = first_step
    last: Step | None = None
    while (batch := next(iterator, None)) is not None:
        waited = time.perf_counter() - started
        images, labels, valid = placement.batch(batch)
        torch.manual_seed(_step_seed(seed, number, rank))
        optimizer.zero_grad(set_to_none=True)
        outputs, losses = [], []
        for part, (x, y) in enumerate(zip(images.chunk(accumulate), labels.chunk(accumulate), strict=True), 1):
            with _alone(model) if part < accumulate else nullcontext():
                with placement.autocast():
                    logits = model(x).float()
                loss = functional.cross_entropy(logits, y, reduction="none", label_smoothing=label_smoothing)
                scaler.scale(loss.sum() / len(labels)).backward()
            outputs.append(logits.detach())
            losses.append(loss.detach())
        counts = metrics.count(torch.cat(outputs), labels, valid)
        step = Step(number, counts, 0.0, waited, torch.cat(losses), batch.sample_ids)
        if waits:  # which keeps a broken step out of the weights
            step.check()
        scaler.step(optimizer)
        scaler.update()
        if last is not None and not waits:
            last.check()
        last = step._replace(seconds=time.perf_counter() - started)
        yield last
        started = time.perf_counter()
        number += 1


def _alone(model: nn.Module) -> AbstractContextManager[object]:
    """Without the sum over ranks, which is made once a step, with the last part."""
    return getattr(model, "no_sync", nullcontext)()  # by name: a compiled DDP is of another class


@torch.inference_mode()
def validate(model: nn.Module, batches: Iterable[Batch], placement: Placement, *, num_samples: int) -> metrics.Metrics:
    """Loss and errors over `batches` of all ranks together, each valid row counted once.

    Every rank must call it, with the network itself and not its DDP wrapper.
    Raises ValueError unless exactly `num_samples` were counted, FloatingPointError where the loss is not finite.
    """
    model.eval()
    counts = metrics.zero(placement.device)
    for batch in batches:
        images, labels, valid = placement.batch(batch)
        with placement.autocast():
            logits = model(images)
        counts += metrics.count(logits, labels, valid)
    result = metrics.summarise(metrics.over_ranks(counts))
    if result.num_samples != num_samples:
        raise ValueError(f"validation counted {result.num_samples} samples, the split has {num_samples}")
    if not math.isfinite(result.loss):
        raise FloatingPointError(f"the validation loss is {result.loss}; try a lower learning rate")
    return result


def _step_seed(seed: int, step: int, rank: int) -> int:
    """A 64-bit key that mixes its parts; a sum would repeat another step's draws on the next rank."""
    digest = hashlib.blake2b(struct.pack("<qqq", seed, step, rank), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
