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
    return (fused if x.dtype in KERNEL_DTYPES else reference)(x, size, alpha, beta, k, relu, groups)


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
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    return _backend(x).backward(dy.contiguous(memory_format=layout), x, size, alpha, beta, k, relu, groups)


def _backend(x: Tensor) -> Any:
    """What computes: the kernels on CUDA, and in Triton's interpreter where the environment asks for it."""
    if x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1":
        from model import lrn_triton  # here, because a CPU run needs no Triton, and not every system has it

        return lrn_triton
    from model import lrn_cpu

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
