"""Training and validation as loops over batches, whoever makes them.

A batch is anything with `images` float [B, 3, H, W] (or [B, H, W, 3], see `Placement`), `labels` int64 [B] and
`valid` bool [B].
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
from torch.nn import functional
from torch.optim import Optimizer

from model import metrics


class Batch(Protocol):
    """What the loops read of a batch."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def valid(self) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and in which precision the network runs.

    With `mixed` precision torch chooses per operation between bfloat16 and float32; weights and their updates
    stay float32. With `channels_last` the images arrive as [B, H, W, 3] and are passed on without a copy.
    """

    device: torch.device
    mixed: bool = False
    channels_last: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.mixed else nullcontext()

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


class Step(NamedTuple):
    """One finished step on this rank."""

    step: int  # from 1
    counts: Tensor  # metrics.count of this rank's part of the batch, before the update
    seconds: float  # the whole step
    seconds_waiting: float  # of these, for the batch to come


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: Optimizer,
    placement: Placement,
    *,
    first_step: int = 1,
    seed: int = 0,
    rank: int = 0,
) -> Iterator[Step]:
    """Makes one update for each batch and yields after it; the caller logs, saves or stops in between.

    Dropout draws from torch's generator, which is seeded anew for each step by (seed, step, rank): a run that
    starts again in the middle draws what it would have drawn.
    The loss is the sum over valid rows divided by the number of all rows, padding included. So each sample weighs
    the same whichever batch it lands in, and the mean over ranks that DDP takes is the mean over the whole batch,
    also where padding falls on one rank only.
    Raises FloatingPointError with the step's number as soon as a loss is not finite.
    """
    model.train()
    started = time.perf_counter()
    iterator = iter(batches)
    step = first_step
    while (batch := next(iterator, None)) is not None:
        waited = time.perf_counter() - started
        images, labels, valid = placement.batch(batch)
        torch.manual_seed(_step_seed(seed, step, rank))
        optimizer.zero_grad(set_to_none=True)
        with placement.autocast():
            logits = model(images).float()
        loss = functional.cross_entropy(logits, labels, reduction="sum") / len(labels)
        loss.backward()
        # Waiting for the loss before the update keeps a broken step out of the weights and the checkpoints.
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"step {step}: the loss is {loss.item()}; try a lower learning rate")
        optimizer.step()
        counts = metrics.count(logits, labels, valid)
        now = time.perf_counter()
        yield Step(step, counts, now - started, waited)
        started = time.perf_counter()
        step += 1


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
