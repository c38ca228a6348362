"""The learning rate as a pure function of how far a run is and of what validation has shown so far."""

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate moves.

    - "plateau", the paper's rule: divide by `divisor` when the validation error "stopped improving with the current
      rate", here: when `patience` epochs in a row brought no new lowest top-1 error; at most `max_reductions` times.
    - "steps": divide after each epoch named in `milestones` (counted from 1), whatever the error: Caffe's and
      torchvision's rule, and, with the epochs at which its authors did so by hand, the recorded run of 2012.
    - "cosine": half a wave from the rate to 0 over all `epochs`.

    Over the first `warm_up` epochs the rate rises linearly, step by step, whatever the kind.
    """

    kind: Literal["plateau", "steps", "cosine"]
    learning_rate: float
    divisor: float = 10.0
    patience: int = 5
    max_reductions: int = 3
    milestones: tuple[int, ...] = ()
    warm_up: int = 0
    epochs: int = 90

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning rate must be positive and finite, got {self.learning_rate}")
        if not self.divisor > 1:
            raise ValueError(f"the divisor of the learning rate must be above 1, got {self.divisor}")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {self.patience}")
        if self.max_reductions < 0:
            raise ValueError(f"max_reductions must not be negative, got {self.max_reductions}")
        if self.warm_up < 0 or self.epochs < 1:
            raise ValueError(f"warm_up and epochs cannot be {self.warm_up} and {self.epochs}")
        rising = sorted(set(self.milestones)) == list(self.milestones)
        if not rising or any(epoch < 1 for epoch in self.milestones):
            raise ValueError(f"milestones must be rising epochs from 1 on, got {self.milestones}")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """All that a schedule remembers: plain numbers, kept in the checkpoint by `dataclasses.asdict`."""

    reductions: int = 0
    lowest_error: float = math.inf
    stalled_epochs: int = 0


def learning_rate(schedule: Schedule, progress: Progress, *, step: int = 0, steps_per_epoch: int = 1) -> float:
    """The rate for the step after `step` completed ones, of a run with `steps_per_epoch`."""
    rate = schedule.learning_rate / schedule.divisor**progress.reductions
    if schedule.kind == "cosine":
        rate *= (1 + math.cos(math.pi * step / (schedule.epochs * steps_per_epoch))) / 2
    return rate * min(1.0, (step + 1) / (schedule.warm_up * steps_per_epoch + 1))


def after_epoch(schedule: Schedule, progress: Progress, *, epoch: int, error: float) -> Progress:
    """What is known after epoch number `epoch` (from 1), which ended with validation top-1 error `error`."""
    improved = error < progress.lowest_error
    stalled = 0 if improved else progress.stalled_epochs + 1
    if schedule.kind == "steps":
        reduce = epoch in schedule.milestones
    else:
        reduce = (
            schedule.kind == "plateau"
            and stalled >= schedule.patience
            and progress.reductions < schedule.max_reductions
        )
    return replace(
        progress,
        reductions=progress.reductions + reduce,
        lowest_error=min(error, progress.lowest_error),
        stalled_epochs=0 if reduce else stalled,
    )


def scaled_rate(learning_rate: float, *, batch_size: int, reference_batch: int | None) -> float:
    """The rate for `batch_size` where `learning_rate` is meant for `reference_batch` images: linear in the batch.

    The rule of Krizhevsky 2014 (arXiv 1404.5997) and of Goyal and others 2017 (arXiv 1706.02677), who add the warm-up.
    With None the rate is the same at any size.
    """
    return learning_rate * (batch_size / reference_batch if reference_batch else 1.0)
