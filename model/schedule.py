"""The learning rate as a pure function of what validation has shown so far."""

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate falls; every reduction divides it by `divisor`.

    - "plateau", the paper's rule: reduce when the validation error "stopped improving with the current rate",
      here: when `patience` epochs in a row brought no new lowest top-1 error; at most `max_reductions` times.
    - "steps": reduce after each epoch named in `milestones` (counted from 1), whatever the error, for runs too
      short to wait for a plateau.
    """

    kind: Literal["plateau", "steps"]
    learning_rate: float
    divisor: float = 10.0
    patience: int = 5
    max_reductions: int = 3
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning rate must be positive and finite, got {self.learning_rate}")
        if not self.divisor > 1:
            raise ValueError(f"the divisor of the learning rate must be above 1, got {self.divisor}")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {self.patience}")
        if self.max_reductions < 0:
            raise ValueError(f"max_reductions must not be negative, got {self.max_reductions}")
        rising = sorted(set(self.milestones)) == list(self.milestones)
        if not rising or any(epoch < 1 for epoch in self.milestones):
            raise ValueError(f"milestones must be rising epochs from 1 on, got {self.milestones}")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """All that a schedule remembers: plain numbers, kept in the checkpoint by `dataclasses.asdict`."""

    reductions: int = 0
    lowest_error: float = math.inf
    stalled_epochs: int = 0


def learning_rate(schedule: Schedule, progress: Progress) -> float:
    """The rate for the next step."""
    return schedule.learning_rate / schedule.divisor**progress.reductions


def after_epoch(schedule: Schedule, progress: Progress, *, epoch: int, error: float) -> Progress:
    """What is known after epoch number `epoch` (from 1), which ended with validation top-1 error `error`."""
    improved = error < progress.lowest_error
    stalled = 0 if improved else progress.stalled_epochs + 1
    if schedule.kind == "steps":
        reduce = epoch in schedule.milestones
    else:
        reduce = stalled >= schedule.patience and progress.reductions < schedule.max_reductions
    return replace(
        progress,
        reductions=progress.reductions + reduce,
        lowest_error=min(error, progress.lowest_error),
        stalled_epochs=0 if reduce else stalled,
    )
