"""Loss and top-1/top-5 error as sums that add across batches and ranks; divided only at the very end."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

IGNORED = -100  # the label of a padded row, torch's own ignore_index


class Metrics(NamedTuple):
    """Means over `num_samples` samples; errors are fractions from 0 to 1, the loss is in nats."""

    num_samples: int
    loss: float
    top1_error: float
    top5_error: float


def rank_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes the network puts before the right one: [B, C], [B] int64 -> [B] int64 in 0..C-1.

    Top-k is right where the rank is below k, which also holds for k above C. Of equal logits the lower class
    number comes first, as a stable sort would have it, so a network that says the same of all classes is at
    chance, not at either end. A logit that is not a number comes before everything: a broken network is not right.
    """
    own = logits.gather(1, labels[:, None])
    before = ~(logits <= own)  # above it, or not comparable
    classes = torch.arange(logits.shape[1], device=logits.device)
    tied = (logits == own) & (classes < labels[:, None])
    return (before | tied).sum(1).clamp(max=logits.shape[1] - 1)


@torch.no_grad()
def count(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """One batch's sums, [4] float64: samples, top-1 errors, top-5 errors, loss; of [B, C], [B] int64, [B] bool.

    Rows that are not `valid` count for nothing. float64 holds every whole number below 2**53: counts are exact. Shapes
    do not depend on `valid`, so that a GPU does not have to be waited for.
    """
    logits = logits.float()
    rank = rank_of_label(logits, labels.where(valid, 0)).where(valid, 0)
    losses = functional.cross_entropy(logits, labels.where(valid, IGNORED), reduction="none", ignore_index=IGNORED)
    sums = [valid.sum(), (rank >= 1).sum(), (rank >= 5).sum(), losses.double().sum()]
    return torch.stack([value.double() for value in sums])


def zero(device: torch.device) -> Tensor:
    """The sums of no samples."""
    return torch.zeros(4, dtype=torch.float64, device=device)


def over_ranks(counts: Tensor) -> Tensor:
    """The sums of all ranks together. All ranks must call it; a process that is alone gets its own back."""
    total = counts.clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
    return total


def summarise(counts: Tensor) -> Metrics:
    """The means behind `counts`. Raises ValueError where there is nothing to average."""
    num_samples, top1_errors, top5_errors, loss = counts.tolist()
    if num_samples == 0:
        raise ValueError("no valid sample was counted, so there is no mean")
    return Metrics(int(num_samples), loss / num_samples, top1_errors / num_samples, top5_errors / num_samples)


def chance_error(num_classes: int, k: int) -> float:
    """The top-k error of guessing among `num_classes` equally frequent classes."""
    return 1 - min(k, num_classes) / num_classes
