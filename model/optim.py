"""The paper's gradient descent: momentum whose velocity already contains the learning rate."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class PaperSGD(Optimizer):
    """Section 5 of the paper, for each weight w with gradient g of the batch's mean loss:

        v <- momentum * v - weight_decay * lr * w - lr * g
        w <- w + v

    `torch.optim.SGD` keeps the rate outside its buffer: b <- momentum * b + g + weight_decay * w; w <- w - lr * b.
    At a constant rate both take the same steps. When the rate is divided by 10, torch's next step shrinks to a
    tenth at once, while here the velocity of the old rate fades over some tens of steps; Caffe and the 2012 code
    do likewise.

    `params`: parameters, or groups of them as dicts with their own `lr`, `momentum` or `weight_decay`. A parameter
    without a gradient is left alone. An update is four passes over all of a group's parameters at once.
    Raises ValueError for a rate that is not positive or a momentum or decay outside their ranges.
    """

    def __init__(
        self, params: ParamsT, lr: float = 0.01, *, momentum: float = 0.9, weight_decay: float = 0.0005
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            if not group["lr"] > 0:
                raise ValueError(f"lr must be positive, got {group['lr']}")
            if not 0 <= group["momentum"] < 1:
                raise ValueError(f"momentum must be in [0, 1), got {group['momentum']}")
            if not group["weight_decay"] >= 0:
                raise ValueError(f"weight_decay must not be negative, got {group['weight_decay']}")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Makes one update. A `closure` is called first, with gradients on, and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        velocities = [self._velocity(weight) for weight in weights]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, weights, alpha=-group["weight_decay"] * group["lr"])
        torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
        torch._foreach_add_(weights, velocities)

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["velocity"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        return state["velocity"]
