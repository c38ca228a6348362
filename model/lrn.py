"""Local response normalisation across channels (the paper, section 3.3): function, plain twin and torch operator.

y_i = a_i / (k + alpha * sum of a_j^2 over the window of i) ** beta,    a = x, or ReLU(x) where asked for
window of i: the channels max(0, i - size // 2) .. min(C - 1, i + size // 2), in each group of channels by itself
"""

import os
from functools import reduce
from operator import add
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
RELU = ("none", "before", "after")

Relu = Literal["none", "before", "after"]


def local_response_norm(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    relu: Relu = "none",
    groups: int = 1,
) -> Tensor:
    """[N, C, H, W] -> the same shape and dtype, contiguous or channels-last as x is; computed in float32 at least.

    size: channels in a window, odd.   alpha, beta, k: the paper's.   relu: of x ("before") or of y ("after"), in the
    same pass.   groups: channels are cut into that many equal parts, and no window reaches from one into another.

    The convention is the paper's: alpha weighs the window's *sum*. `torch.nn.LocalResponseNorm` and Caffe divide
    alpha by size first (and so did the 2012 code), so that their alpha=5e-4 is 1e-4 here; Caffe's k is 1 by default.

    In float32, float16 and bfloat16 one operator serves, `imagefeed::local_response_norm`: Triton kernels on CUDA,
    few passes of torch on a CPU. It can be differentiated once. For float64 there is the plain twin below.
    ValueError where an argument has no meaning: an even size, k <= 0, alpha < 0, an x not of 4 axes, unequal groups.
    """
    _check(x, size, alpha, k, relu, groups)
    return (fused if x.dtype in KERNEL_DTYPES else reference)(x, size, alpha, beta, k, relu, groups)


def local_response_norm_pool(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    relu: Relu = "none",
    groups: int = 1,
) -> Tensor:
    """`local_response_norm`, then max pooling over 3x3 pixels by steps of 2: [N, C, H, W] -> [N, C, H', W'].

    H' is (H - 3) // 2 + 1, and so W'; H and W are at least 3. One pass in each direction where the kernels are.
    """
    if x.dtype in KERNEL_DTYPES and _has_kernels(x) and x.ndim == 4 and min(x.shape[2:]) >= 3:
        _check(x, size, alpha, k, relu, groups)
        return fused_pool(x, size, alpha, beta, k, relu, groups)[0]
    return F.max_pool2d(local_response_norm(x, size, alpha, beta, k, relu, groups), 3, 2)


def _check(x: Tensor, size: int, alpha: float, k: float, relu: str, groups: int) -> None:
    if x.ndim != 4:
        raise ValueError(f"expected x of 4 axes, [N, C, H, W], not {tuple(x.shape)}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and positive, so that a window has a middle; it is {size}")
    if k <= 0 or alpha < 0:
        raise ValueError(f"k must be above 0 and alpha not below it, so that no divisor is 0; k={k}, alpha={alpha}")
    if relu not in RELU:
        raise ValueError(f"relu must be one of {', '.join(RELU)}, not {relu!r}")
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"{x.shape[1]} channels do not make {groups} equal groups")


def reference(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: Relu, groups: int) -> Tensor:
    """`local_response_norm` in plain torch, which any order of derivative goes through: the twin to test against."""
    a = x.to(torch.promote_types(x.dtype, torch.float32))
    a = torch.relu(a) if relu == "before" else a
    a = a.unflatten(1, (groups, -1))
    reach = size // 2
    squares = F.pad(a * a, (0, 0, 0, 0, reach, reach))
    sums = reduce(add, (squares[:, :, first : first + a.shape[2]] for first in range(size)))
    y = (a * (k + alpha * sums).pow(-beta)).flatten(1, 2).to(x.dtype)
    return torch.relu(y) if relu == "after" else y


def within_map_norm(a: Tensor, size: int = 5, alpha: float = 1e-3, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """[N, C, H, W] -> the same: the second norm of the 2012 code (cnorm2), which the paper does not speak of.

    y = a / (k + alpha * mean of a^2 over the size x size pixels around it, in its own map, zeros outside) ** beta
    """
    wide = a.to(torch.promote_types(a.dtype, torch.float32))
    means = F.avg_pool2d(wide * wide, size, stride=1, padding=size // 2)
    return (wide * (k + alpha * means).pow(-beta)).to(a.dtype)


@torch.library.custom_op("imagefeed::local_response_norm", mutates_args=())
def fused(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> Tensor:
    """The forward pass as one operator, which `torch.compile` keeps whole in its graph."""
    return _backend(x).forward(_dense(x), size, alpha, beta, k, relu, groups)


@torch.library.custom_op("imagefeed::local_response_norm_backward", mutates_args=())
def fused_backward(
    dy: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int
) -> Tensor:
    """The backward pass as one operator. It sums the windows again, so that x is all that a step has to keep."""
    x = _dense(x)
    return _backend(x).backward(dy.contiguous(memory_format=_layout(x)), x, size, alpha, beta, k, relu, groups)


@torch.library.custom_op("imagefeed::local_response_norm_pool", mutates_args=())
def fused_pool(
    x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int
) -> tuple[Tensor, Tensor]:
    """Norm and pooling as one operator: y, and uint8 of its shape, which of each window's nine values it is."""
    return _backend(x).forward_pool(_dense(x), size, alpha, beta, k, relu, groups)


@torch.library.custom_op("imagefeed::local_response_norm_pool_backward", mutates_args=())
def fused_pool_backward(
    dy: Tensor, place: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int
) -> Tensor:
    """Its backward pass; x and a byte for each pooled value are all that a step has to keep."""
    x = _dense(x)
    layout = _layout(x)
    dy, place = dy.contiguous(memory_format=layout), place.contiguous(memory_format=layout)
    return _backend(x).backward_pool(dy, place, x, size, alpha, beta, k, relu, groups)


def _has_kernels(x: Tensor) -> bool:
    """On CUDA, and in Triton's interpreter where the environment asks for it."""
    return x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


def _layout(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def _backend(x: Tensor) -> Any:
    """What computes: the kernels, or torch on a CPU."""
    if _has_kernels(x):
        from imagefeed.model import lrn_triton  # here, because a CPU run needs no Triton, and not every system has it

        return lrn_triton
    from imagefeed.model import lrn_cpu

    return lrn_cpu


def _dense(x: Tensor) -> Tensor:
    """x itself where it is contiguous or channels-last, which is what the kernels know, else a contiguous copy."""
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


@fused.register_fake
def _(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> Tensor:
    return torch.empty_like(_dense(x))


@fused_backward.register_fake
def _(dy: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> Tensor:
    return torch.empty_like(_dense(x))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.options = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    return fused_backward(dy, x, *ctx.options), *[None] * len(ctx.options)


fused.register_autograd(_backward, setup_context=_save)


@fused_pool.register_fake
def _(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> tuple[Tensor, Tensor]:
    y = F.max_pool2d(_dense(x), 3, 2).contiguous(memory_format=_layout(_dense(x)))
    return y, torch.empty_like(y, dtype=torch.uint8)


@fused_pool_backward.register_fake
def _(
    dy: Tensor, place: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int
) -> Tensor:
    return torch.empty_like(_dense(x))


def _save_pool(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, *ctx.options = inputs
    ctx.save_for_backward(output[1], x)


def _backward_pool(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return fused_pool_backward(dy, *ctx.saved_tensors, *ctx.options), *[None] * len(ctx.options)


fused_pool.register_autograd(_backward_pool, setup_context=_save_pool)
