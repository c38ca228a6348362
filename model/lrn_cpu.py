"""Local response normalisation on a CPU: forward and backward in few passes over memory, most of them in place.

Autograd through the plain twin keeps ten tensors of the input's size and adds windows by padding and slicing; here each
direction has its formula, applied to a few samples at a time, which stay in the core's cache from pass to pass. A power
of 3/4 is two square roots. No C++ of our own, no compiler, torch's operations alone.
"""

import torch
from torch import Tensor

BLOCK_VALUES = 2**18  # of a few samples: 1 MB a tensor


def forward(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> Tensor:
    """y [N, C, H, W] from x, which is contiguous or channels-last, in float32, float16 or bfloat16."""
    y = torch.empty_like(x)
    for x_part, y_part in zip(*_blocks(x, y), strict=True):
        a = x_part.float().relu() if relu == "before" else x_part.float()
        result = _power(_scale(a, size, alpha, k, groups), beta).mul_(a)
        y_part.copy_(result.relu_() if relu == "after" else result)
    return y


def backward(dy: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> Tensor:
    """The gradient by x from dy, the gradient by y; both [N, C, H, W], of one dtype and memory format, as above.

    With s the scale, k + alpha * window sum of a^2:  dx = dy s^-beta - 2 alpha beta a * window sum of dy a s^-(beta+1)
    """
    dx = torch.empty_like(x)
    for x_part, dy_part, dx_part in zip(*_blocks(x, dy, dx), strict=True):
        a = x_part.float().relu() if relu == "before" else x_part.float()
        dy_part = dy_part.masked_fill(x_part <= 0, 0.0).float() if relu == "after" else dy_part.float()
        scale = _scale(a, size, alpha, k, groups)
        direct = _power(scale, beta).mul_(dy_part)
        crossed = _window_sum((direct * a).div_(scale), size, groups)
        result = direct.addcmul_(crossed, a, value=-2 * alpha * beta)
        dx_part.copy_(result.masked_fill_(x_part <= 0, 0.0) if relu == "before" else result)
    return dx


def _blocks(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Each tensor cut into the same blocks of samples, which are views of it."""
    num_samples = max(1, BLOCK_VALUES // max(1, tensors[0][:1].numel()))
    return [tensor.split(num_samples) for tensor in tensors]


def _scale(a: Tensor, size: int, alpha: float, k: float, groups: int) -> Tensor:
    """k + alpha * window sum of a^2, a new tensor."""
    return _window_sum(a * a, size, groups).mul_(alpha).add_(k)


def _window_sum(values: Tensor, size: int, groups: int) -> Tensor:
    """The sums over the windows, a new tensor."""
    total = values.clone()
    # Views of the groups, never copies: a channel axis is cut in two by strides alone, in either memory format.
    parts, sums = values.unflatten(1, (groups, -1)), total.unflatten(1, (groups, -1))
    for distance in range(1, min(size // 2, parts.shape[2] - 1) + 1):
        sums[:, :, distance:] += parts[:, :, :-distance]
        sums[:, :, :-distance] += parts[:, :, distance:]
    return total


def _power(scale: Tensor, beta: float) -> Tensor:
    """scale ** -beta, a new tensor."""
    if beta != 0.75:
        return scale.pow(-beta)
    root = torch.rsqrt(scale)
    return torch.sqrt(root).mul_(root)
