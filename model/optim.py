"""The paper's gradient descent, momentum whose velocity already contains the learning rate, and who gets which rate."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn
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
    without a gradient is left alone, and so is a group whose rate is 0, velocity and all: it is frozen. An update is
    one pass over weight, gradient and velocity, by the kernel that torch has for its own SGD.
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
            if weights and group["lr"]:
                self._update(weights, [weight.grad for weight in weights], group)
        return loss

    def _update(self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [_laid_out_as(*pair) for pair in zip(weights, gradients, strict=True)]
        velocities = [self._velocity(weight) for weight in weights]
        # torch's kernel does b <- momentum * b + (1 - dampening) * (g + weight_decay * w); w <- w - lr * b. With these
        # two values b is the velocity. (1 - (1 + lr) is -lr up to 1e-16, far below what float32 can tell.)
        torch._fused_sgd_(
            weights,
            gradients,
            velocities,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=-1.0,
            dampening=1.0 + group["lr"],
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["velocity"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        return state["velocity"]


class LARS(PaperSGD):
    """Layer-wise rates for large batches (You, Gitman and Ginsburg 2017, arXiv 1708.03888), with momentum as there:

        v <- momentum * v + lr * trust * |w| / (|g| + weight_decay * |w|) * (g + weight_decay * w)
        w <- w - v

    |.| is the norm of a whole tensor, and `trust` 0.001: rates are some hundred times those of SGD. Biases, batch
    norm's factors, and what has weights or gradients of nothing but 0, take SGD's step with lr as it is.
    """

    trust = 0.001

    def _update(self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        slopes = [gradient.add(weight, alpha=decay) for weight, gradient in zip(weights, gradients, strict=True)]
        for weight, gradient, slope in zip(weights, gradients, slopes, strict=True):
            if weight.ndim > 1:
                size, steepness = weight.norm(), gradient.norm()
                factor = self.trust * size / (steepness + decay * size)
                slope.mul_(torch.where((size > 0) & (steepness > 0), factor, 1.0))
        super()._update(weights, slopes, {**group, "weight_decay": 0.0})


def _laid_out_as(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient, laid out as the weight: torch's kernel goes through both from end to end without looking."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)


def parameter_groups(
    network: nn.Module, *, weight_decay: float, bias_rate: float, bias_decay: bool
) -> list[dict[str, Any]]:
    """All parameters of an AlexNet in groups for an optimiser: conv1, the other weights, the biases.

    Each group says by `factor` how its rate relates to the schedule's: a bias's is `bias_rate`. Biases, and the factors
    of batch norm with them, decay only with `bias_decay`. conv1 (with its bias in a group of its own) can be held back.
    """
    groups: dict[str, list[nn.Parameter]] = {"conv1": [], "conv1 bias": [], "weights": [], "biases": []}
    for name, parameter in network.named_parameters():
        kinds = ("conv1", "conv1 bias") if name.startswith("conv1.") else ("weights", "biases")
        groups[kinds[parameter.ndim == 1]].append(parameter)
    return [
        {
            "params": parameters,
            "name": name,
            "factor": bias_rate if "bias" in name else 1.0,
            "weight_decay": weight_decay if bias_decay or "bias" not in name else 0.0,
        }
        for name, parameters in groups.items()
    ]
