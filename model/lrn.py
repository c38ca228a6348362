"""Local response normalisation across channels (the paper, section 3.3): function, plain twin and torch operator.

y_i = a_i / (k + alpha * sum of a_j^2 over the window of i) ** beta,    a = x, or ReLU(x) where asked for
window of i: the channels max(0, i - size // 2) .. min(C - 1, i + size // 2)
"""

from functools import reduce
from operator import add
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def local_response_norm(
    x: Tensor, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, relu: bool = False
) -> Tensor:
    """[N, C, H, W] -> the same shape and dtype, contiguous or channels-last as x is; computed in float32 at least.

    size: channels in a window, odd.   alpha, beta, k: the paper's.   relu: normalise ReLU(x), in the same pass.

    The convention is the paper's: alpha weighs the window's *sum*. `torch.nn.LocalResponseNorm` and Caffe divide
    alpha by size first (and so did the 2012 code), so that their alpha=5e-4 is 1e-4 here; Caffe's k is 1 by default.

    On CUDA the Triton kernels serve, elsewhere (and for float64) the plain twin below. Both are differentiable, the
    kernels once only. ValueError where an argument has no meaning: an even size, k <= 0, alpha < 0, an x not of 4 axes.
    """
    if x.ndim != 4:
        raise ValueError(f"expected x of 4 axes, [N, C, H, W], not {tuple(x.shape)}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and positive, so that a window has a middle; it is {size}")
    if k <= 0 or alpha < 0:
        raise ValueError(f"k must be above 0 and alpha not below it, so that no divisor is 0; k={k}, alpha={alpha}")
    if x.is_cuda and x.dtype in KERNEL_DTYPES:
        return fused(x, size, alpha, beta, k, relu)
    return reference(x, size, alpha, beta, k, relu)


def reference(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: bool) -> Tensor:
    """`local_response_norm` in plain torch; on a CPU in a third of the time of torch's own, which pools in 3-D."""
    a = x.to(torch.promote_types(x.dtype, torch.float32))
    a = torch.relu(a) if relu else a
    reach = size // 2
    squares = F.pad(a * a, (0, 0, 0, 0, reach, reach))
    sums = reduce(add, (squares[:, first : first + x.shape[1]] for first in range(size)))
    return (a * (k + alpha * sums).pow(-beta)).to(x.dtype)


def _dense(x: Tensor) -> Tensor:
    """x itself where it is contiguous or channels-last, which is what the kernels know, else a contiguous copy."""
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


@torch.library.custom_op("imagefeed::local_response_norm", mutates_args=())
def fused(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: bool) -> Tensor:
    """The forward kernel as one operator, which `torch.compile` keeps whole in its graph."""
    from model import lrn_triton  # here, because a CPU run needs no Triton, and not every system has it

    return lrn_triton.forward(_dense(x), size, alpha, beta, k, relu)


@torch.library.custom_op("imagefeed::local_response_norm_backward", mutates_args=())
def fused_backward(dy: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: bool) -> Tensor:
    """The backward kernel as one operator. It sums the windows again, so that x is all that a step has to keep."""
    from model import lrn_triton

    x = _dense(x)
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    return lrn_triton.backward(dy.contiguous(memory_format=layout), x, size, alpha, beta, k, relu)


@fused.register_fake
def _(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: bool) -> Tensor:
    return torch.empty_like(_dense(x))


@fused_backward.register_fake
def _(dy: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: bool) -> Tensor:
    return torch.empty_like(_dense(x))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.options = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    return fused_backward(dy, x, *ctx.options), None, None, None, None, None


fused.register_autograd(_backward, setup_context=_save)
