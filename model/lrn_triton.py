"""Local response normalisation on the GPU: a forward and a backward Triton kernel, with a ReLU before or after.

A program holds a tile of TILE_C channels x TILE_P pixels, which it reads once and computes in float32. A channel's
neighbours are in the same tile, so its window is summed between the threads of a warp (`tl.gather` compiles to
shuffles) and not by loading the tile again at each offset, which took the backward kernel five times the instructions
on sm_90, and spilled registers. The tiles of a pixel overlap by 2 * REACH channels at each end: that far reach the
backward kernel's sums of sums. A tile holds channels of one group alone, so no window reaches into another.

Max pooling stays outside. Fused, it would save a write and a read of y in the forward pass alone: the backward one
would have to keep the place of each maximum, or find it again. And a tile would have to be a patch of the map, whose
border of overlapping 3x3 windows is computed in two tiles, on top of the channels that two tiles share already.
"""

# mypy: disable-error-code="no-untyped-def"
# (a kernel's arguments have no Python type)

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_C = 64
TILE_VALUES = 2048  # 16 a thread: more begin to spill, fewer repeat the index arithmetic


@triton.jit
def _tile(C, G, P, R, REACH: tl.constexpr, CHANNELS_LAST: tl.constexpr, TILE_C: tl.constexpr, TILE_P: tl.constexpr):
    """This program's tile: the offsets of its values, which of them exist, and which of those are its to write."""
    HALO: tl.constexpr = 2 * REACH  # in the forward kernel too, where REACH would do: it keeps loads aligned
    STEP: tl.constexpr = TILE_C - 2 * HALO
    num_steps = tl.cdiv(G, STEP)
    num_tiles = num_steps * (C // G)  # of one pixel
    lane = tl.arange(0, TILE_C)[:, None]
    tile = tl.program_id(0) % num_tiles
    place = tile % num_steps * STEP - HALO + lane  # in the group
    channel = tile // num_steps * G + place
    row = tl.program_id(0) // num_tiles * TILE_P + tl.arange(0, TILE_P)[None, :]
    if CHANNELS_LAST:
        offsets = row.to(tl.int64) * C + channel
    else:
        sample = (row // P).to(tl.int64)
        offsets = row + sample * ((C - 1) * P) + channel * P
    exists = (row < R) & (place >= 0) & (place < G)
    return offsets, exists, exists & (lane >= HALO) & (lane < TILE_C - HALO)


@triton.jit
def _window_sum(values, REACH: tl.constexpr):
    """The sum over a channel and REACH more on either side. It wraps, and so is wrong, in the tile's outer REACH."""
    TILE_C: tl.constexpr = values.shape[0]
    lane = tl.broadcast_to(tl.arange(0, TILE_C)[:, None], values.shape)
    total = values
    for distance in tl.static_range(1, REACH + 1):
        total += tl.gather(values, (lane + distance) % TILE_C, 0)
        total += tl.gather(values, (lane + TILE_C - distance) % TILE_C, 0)
    return total


@triton.jit
def _inverse_powers(scale, BETA: tl.constexpr):
    """scale ** -BETA and 1 / scale."""
    if BETA == 0.75:  # the paper's, which takes two square roots where a power takes some thirty instructions
        root = tl.rsqrt(scale)
        power, inverse = root * tl.sqrt(root), root * root
    else:
        log = tl.log2(scale)
        power, inverse = tl.exp2(-BETA * log), tl.exp2(-log)
    return power, inverse


@triton.jit
def _forward_kernel(
    x_ptr,  # [N, C, H, W], contiguous or channels-last
    y_ptr,  # as x
    C,
    G,  # channels of a group: all of them, or a part that divides C
    P,  # pixels of a sample: H * W
    R,  # rows, a row being the channels of one pixel: N * H * W
    alpha,
    k,
    BETA: tl.constexpr,
    RELU: tl.constexpr,
    REACH: tl.constexpr,  # channels on either side: size // 2
    CHANNELS_LAST: tl.constexpr,
    TILE_C: tl.constexpr,
    TILE_P: tl.constexpr,
):
    offsets, exists, writes = _tile(C, G, P, R, REACH, CHANNELS_LAST, TILE_C, TILE_P)
    a = tl.load(x_ptr + offsets, mask=exists, other=0.0).to(tl.float32)
    if RELU == "before":
        a = tl.maximum(a, 0.0, propagate_nan=tl.PropagateNan.ALL)
    power, _ = _inverse_powers(k + alpha * _window_sum(a * a, REACH), BETA)
    y = a * power
    if RELU == "after":
        y = tl.maximum(y, 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(y_ptr + offsets, y, mask=writes)


@triton.jit
def _backward_kernel(
    x_ptr,  # [N, C, H, W], contiguous or channels-last
    dy_ptr,  # as x
    dx_ptr,  # as x
    C,
    G,  # channels of a group: all of them, or a part that divides C
    P,  # pixels of a sample: H * W
    R,  # rows, a row being the channels of one pixel: N * H * W
    alpha,
    k,
    BETA: tl.constexpr,
    RELU: tl.constexpr,
    REACH: tl.constexpr,  # channels on either side: size // 2
    CHANNELS_LAST: tl.constexpr,
    TILE_C: tl.constexpr,
    TILE_P: tl.constexpr,
):
    offsets, exists, writes = _tile(C, G, P, R, REACH, CHANNELS_LAST, TILE_C, TILE_P)
    x = tl.load(x_ptr + offsets, mask=exists, other=0.0).to(tl.float32)
    dy = tl.load(dy_ptr + offsets, mask=exists, other=0.0).to(tl.float32)
    a = x
    if RELU == "before":
        a = tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if RELU == "after":  # y has the sign of x
        dy = tl.where(x <= 0.0, 0.0, dy)
    power, inverse = _inverse_powers(k + alpha * _window_sum(a * a, REACH), BETA)
    direct = dy * power
    dx = direct - 2.0 * BETA * alpha * a * _window_sum(direct * a * inverse, REACH)
    if RELU == "before":
        dx = tl.where(x <= 0.0, 0.0, dx)
    tl.store(dx_ptr + offsets, dx, mask=writes)


def forward(x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> Tensor:
    """y [N, C, H, W] from x, which is contiguous or channels-last, in float32, float16 or bfloat16."""
    y = torch.empty_like(x)
    _launch(_forward_kernel, (x, y), size, alpha, beta, k, relu, groups)
    return y


def backward(dy: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int) -> Tensor:
    """The gradient by x from dy, the gradient by y; both [N, C, H, W], of one dtype and memory format, as above."""
    dx = torch.empty_like(x)
    _launch(_backward_kernel, (x, dy, dx), size, alpha, beta, k, relu, groups)
    return dx


def constants(size: int, beta: float, relu: str, channels_last: bool) -> dict[str, Any]:
    """What both kernels are compiled for: their constexpr arguments by name."""
    tile_c = max(TILE_C, triton.next_power_of_2(4 * size))  # at least half of it is more than halo
    return {
        "BETA": beta,
        "RELU": relu,
        "REACH": size // 2,
        "CHANNELS_LAST": channels_last,
        "TILE_C": tile_c,
        "TILE_P": max(1, TILE_VALUES // tile_c),
    }


def _launch(
    kernel: Any, tensors: tuple[Tensor, ...], size: int, alpha: float, beta: float, k: float, relu: str, groups: int
) -> None:
    n, c, h, w = tensors[0].shape
    fixed = constants(size, beta, relu, channels_last=not tensors[0].is_contiguous())
    num_steps = groups * triton.cdiv(c // groups, fixed["TILE_C"] - 4 * fixed["REACH"])
    grid = (num_steps * triton.cdiv(n * h * w, fixed["TILE_P"]),)
    # Fusion is asked for by name because Triton's default changes in 3.10, and with it the last bit of the results.
    kernel[grid](*tensors, c, c // groups, h * w, n * h * w, alpha, k, **fixed, num_warps=4, enable_fp_fusion=True)
