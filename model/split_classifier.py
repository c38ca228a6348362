"""Krizhevsky's "one weird trick" (arXiv 1404.5997): data-parallel convolutions, a model-parallel classifier.

The fully connected layers have 96 % of the parameters and 8 % of the arithmetic. So each of K ranks holds a K-th of
them, and computes its part for the images of all ranks: activations travel, and their gradients, but no gradient of a
matrix. With b images a rank, in the paper's net:

    conv5, pooled  [b, 9216]      of this rank's images                   -> gathered -> [K b, 9216]
    fc6            [K b, 4096/K]  of this rank's units, from all inputs   -> gathered -> [K b, 4096]
    fc7            [K b, 4096/K]  of this rank's units, from all inputs
    fc8            [K b, classes] of all units, from this rank's inputs   -> summed   -> [b, classes]

Where activations are gathered on the way forward, their gradients are summed over ranks on the way back, each rank
keeping its part, and the other way round. A rank sends (K - 1) b (9216 + 4096 + classes) numbers each way, in place of
2 (K - 1) / K times 58.6 million gradients: less, as long as the whole batch, K b, is below 4,097 images (twice as many
where activations have 16 bits).

Dropout follows the same law: each unit of each image is drawn by itself, by the rank that holds it, in its own step's
stream; only the draws differ, as they do from one number of ranks to another. Batch norm of fc6 and fc7 sees the whole
batch, where data-parallel ranks see their own part.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from imagefeed.model.alexnet import AlexNet
from imagefeed.model.parallel import Exchange

# torch 2.13 has new names for these two and warns of the old ones, which are all that 2.11 has.
_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def split_classifier(network: AlexNet, exchange: Exchange) -> set[str]:
    """Leaves of fc6, fc7, fc8 (and their batch norm) what this rank of the process group holds; returns its names.

    From then on all ranks must call `network` together, each with as many images, and `state_dict` together, which has
    the whole layers, as has what `load_state_dict` takes. Gradients of the parts are the means over ranks, as DDP's.
    Raises ValueError where the hidden units do not divide among the ranks.
    """
    check_units(network.fc6.out_features, dist.get_world_size())
    network.fc6 = _SomeUnits(network.fc6, axis=0, exchange=exchange)
    network.fc7 = _SomeUnits(network.fc7, axis=1, exchange=exchange)
    network.fc8 = _SomeInputs(network.fc8, exchange=exchange)
    along = {f"fc6.{name}": 0 for name in ("weight", "bias")} | {f"fc7.{name}": 0 for name in ("weight", "bias")}
    along["fc8.weight"] = 1
    if network.config.norm == "batch":
        names = ("weight", "bias", "running_mean", "running_var")
        along |= {f"norms.{number}.{name}": 0 for number in (5, 6) for name in names}
    for path, axis in along.items():
        _cut(network, path, axis)
    return set(along)


def check_units(units: int, num_ranks: int) -> None:
    """Raises ValueError where the hidden units do not divide among the ranks."""
    if units % num_ranks:
        raise ValueError(f"the {units} units of fc6 do not divide among {num_ranks} ranks: use another number of ranks")


def split_optimizer(optimizer: Optimizer) -> None:
    """Makes the state dicts of `optimizer`, over the parameters of a split network, those of the whole one.

    All ranks must call `state_dict` together.
    """

    def whole(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return _changed(optimizer, state, lambda value, axis: all_gather(value, axis))

    def part(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return _changed(optimizer, state, _part)

    optimizer.register_state_dict_post_hook(whole)
    optimizer.register_load_state_dict_pre_hook(part)


def all_gather(x: Tensor, axis: int, exchange: Exchange | None = None) -> Tensor:
    """The ranks' x, [..., n, ...], one behind the other along `axis`: [..., K n, ...]."""
    size = dist.get_world_size()
    parts = x.new_empty(size * x.shape[0], *x.shape[1:])
    _gather(parts, x.contiguous())
    if exchange is not None:
        exchange.num_bytes += (size - 1) * x.numel() * x.element_size()
    return parts.unflatten(0, (size, -1)).movedim(0, axis).flatten(axis, axis + 1)


def reduce_scatter(x: Tensor, axis: int, exchange: Exchange) -> Tensor:
    """Of the sum of the ranks' x, [..., K n, ...], this rank's part along `axis`: [..., n, ...]."""
    size = dist.get_world_size()
    parts = x.unflatten(axis, (size, -1)).movedim(axis, 0).contiguous()
    mine = torch.empty_like(parts[0])
    _reduce_scatter(mine, parts.flatten(0, 1))
    exchange.num_bytes += (size - 1) * mine.numel() * mine.element_size()
    return mine


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, exchange: Exchange) -> Tensor:
        ctx.axis, ctx.exchange = axis, exchange
        return all_gather(x, axis, exchange)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        return reduce_scatter(dy, ctx.axis, ctx.exchange), None, None


class _ReduceScatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, exchange: Exchange) -> Tensor:
        ctx.axis, ctx.exchange = axis, exchange
        return reduce_scatter(x, axis, exchange)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        return all_gather(dy, ctx.axis, ctx.exchange), None, None


class _Share(nn.Linear):
    """Part of a layer, in its place and with its names; `whole` is not copied and not cut yet."""

    def __init__(self, whole: nn.Linear, exchange: Exchange) -> None:
        super().__init__(whole.in_features, whole.out_features, device="meta")
        self.weight, self.bias, self.exchange = whole.weight, whole.bias, exchange


class _SomeUnits(_Share):
    """This rank's units for the images of all ranks; what the ranks have of the inputs is put together along `axis`."""

    def __init__(self, whole: nn.Linear, *, axis: int, exchange: Exchange) -> None:
        super().__init__(whole, exchange)
        self.axis = axis

    @torch.compiler.disable
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(_Gather.apply(x, self.axis, self.exchange), self.weight, self.bias)


class _SomeInputs(_Share):
    """All units, for this rank's images, as the sum of what each rank has from its inputs."""

    @torch.compiler.disable
    def forward(self, x: Tensor) -> Tensor:
        return _ReduceScatter.apply(F.linear(x, self.weight), 0, self.exchange) + self.bias


def _part(whole: Tensor, axis: int) -> Tensor:
    return whole.chunk(dist.get_world_size(), axis)[dist.get_rank()].clone(memory_format=torch.contiguous_format)


def _cut(network: nn.Module, path: str, axis: int) -> None:
    """Keeps this rank's part of a parameter or buffer, and has its module save and load the whole."""
    owner, name = path.rpartition(".")[::2]
    module = network.get_submodule(owner)
    whole = getattr(module, name)
    mine = _part(whole.detach(), axis)
    if isinstance(whole, nn.Parameter):
        mine = nn.Parameter(mine)
        mine.split_along = axis  # type: ignore[attr-defined]  # for `split_optimizer`
        # The loss is each rank's own mean: over the ranks' images their gradients add up, and the mean is wanted.
        mine.register_hook(lambda gradient: gradient / dist.get_world_size())
    setattr(module, name, mine)

    def save(_module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
        state[prefix + name] = all_gather(state[prefix + name], axis)

    def load(_module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        if prefix + name in state:
            state[prefix + name] = _part(state[prefix + name], axis)

    module.register_state_dict_post_hook(save)
    module.register_load_state_dict_pre_hook(load)


def _changed(optimizer: Optimizer, state: dict[str, Any], change: Any) -> dict[str, Any]:
    """`state`, of all parameters, with `change` made to what belongs to a split one, in the same order on all ranks."""
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    weights: Iterable[Any] = (weight for group in optimizer.param_groups for weight in group["params"])
    along = {number: getattr(weight, "split_along", None) for number, weight in zip(numbers, weights, strict=True)}
    states = cast(dict[int, dict[str, Any]], state["state"])
    return {**state, "state": {number: _with(states[number], change, along[number]) for number in sorted(states)}}


def _with(state: dict[str, Any], change: Any, axis: int | None) -> dict[str, Any]:
    split = axis is not None
    return {key: change(value, axis) if split and isinstance(value, Tensor) else value for key, value in state.items()}
