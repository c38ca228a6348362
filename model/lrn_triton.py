"""Local response normalisation on the GPU: a forward and a backward Triton kernel, with a ReLU before or after.

A program holds a tile of TILE_C channels x TILE_P pixels, which it reads once and computes in float32. A channel's
neighbours are in the same tile, so its window is summed between the threads of a warp (`tl.gather` compiles to
shuffles) and not by loading the tile again at each offset, which took the backward kernel five times the instructions
on sm_90, and spilled registers. The tiles of a pixel overlap by 2 * REACH channels at each end: that far reach the
backward kernel's sums of sums. A tile holds channels of one group alone, so no window reaches into another.

A second pair has the 3x3 max pooling, by steps of 2, that follows. Forward, a tile's pixels are the pooled ones, and
the nine of each window are normalised one after the other: more arithmetic and cached reads, but y never reaches
memory. Which of the nine it was is kept in a byte; backward, a pixel asks the up to four windows over it. In 16 bits
a step then moves 3.75 times the bytes of x, where norm and torch's pooling, with its 8-byte indices, move 9.
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
def _lanes(C, G, REACH: tl.constexpr, TILE_C: tl.constexpr, TILE_P: tl.constexpr):
    """This program's rows and channels, which of the channels are in the group, and which of those are its to write."""
    HALO: tl.constexpr = 2 * REACH  # in the forward kernel too, where REACH would do: it keeps loads aligned
    STEP: tl.constexpr = TILE_C - 2 * HALO
    num_steps = tl.cdiv(G, STEP)
    num_tiles = num_steps * (C // G)  # of one pixel
    lane = tl.arange(0, TILE_C)[:, None]
    tile = tl.program_id(0) % num_tiles
    place = tile % num_steps * STEP - HALO + lane  # in the group
    channel = tile // num_steps * G + place
    row = tl.program_id(0) // num_tiles * TILE_P + tl.arange(0, TILE_P)[None, :]
    inside = (place >= 0) & (place < G)
    return row, channel, inside, inside & (lane >= HALO) & (lane < TILE_C - HALO)


@triton.jit
def _offsets(row, channel, C, P, CHANNELS_LAST: tl.constexpr):
    """Where the values of these rows and channels lie, in maps of P pixels."""
    if CHANNELS_LAST:
        offsets = row.to(tl.int64) * C + channel
    else:
        sample = (row // P).to(tl.int64)
        offsets = row + sample * ((C - 1) * P) + channel * P
    return offsets


@triton.jit
def _tile(C, G, P, R, REACH: tl.constexpr, CHANNELS_LAST: tl.constexpr, TILE_C: tl.constexpr, TILE_P: tl.constexpr):
    """This program's tile: the offsets of its values, which of them exist, and which of those are its to write."""
    row, channel, inside, inner = _lanes(C, G, REACH, TILE_C, TILE_P)
    return _offsets(row, channel, C, P, CHANNELS_LAST), (row < R) & inside, (row < R) & inner


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
def _response(x, alpha, k, BETA: tl.constexpr, RELU: tl.constexpr, REACH: tl.constexpr):
    """y of a tile."""
    a = x
    if RELU == "before":
        a = tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    power, _ = _inverse_powers(k + alpha * _window_sum(a * a, REACH), BETA)
    y = a * power
    if RELU == "after":
        y = tl.maximum(y, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return y


@triton.jit
def _gradient(x, dy, alpha, k, BETA: tl.constexpr, RELU: tl.constexpr, REACH: tl.constexpr):
    """dx of a tile. The windows are summed again, so that x is all that a step has to keep."""
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
    return dx


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
    x = tl.load(x_ptr + offsets, mask=exists, other=0.0).to(tl.float32)
    tl.store(y_ptr + offsets, _response(x, alpha, k, BETA, RELU, REACH), mask=writes)


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
    tl.store(dx_ptr + offsets, _gradient(x, dy, alpha, k, BETA, RELU, REACH), mask=writes)


@triton.jit
def _forward_pool_kernel(
    x_ptr,  # [N, C, H, W], contiguous or channels-last
    y_ptr,  # [N, C, PH, PW], laid out as x
    place_ptr,  # uint8 as y: which of its window's nine values y is, row by row
    C,
    G,  # channels of a group: all of them, or a part that divides C
    H,
    W,
    PH,
    PW,
    R,  # rows, a row being the channels of one pooled pixel: N * PH * PW
    alpha,
    k,
    BETA: tl.constexpr,
    RELU: tl.constexpr,
    REACH: tl.constexpr,  # channels on either side: size // 2
    CHANNELS_LAST: tl.constexpr,
    TILE_C: tl.constexpr,
    TILE_P: tl.constexpr,
):
    row, channel, inside, inner = _lanes(C, G, REACH, TILE_C, TILE_P)
    pixel = row % (PH * PW)
    corner = row // (PH * PW) * (H * W) + pixel // PW * 2 * W + pixel % PW * 2
    largest = tl.full((TILE_C, TILE_P), float("-inf"), tl.float32)
    place = tl.zeros((TILE_C, TILE_P), tl.int32)
    for each in range(9):
        source = corner + each // 3 * W + each % 3
        offsets = _offsets(source, channel, C, H * W, CHANNELS_LAST)
        x = tl.load(x_ptr + offsets, mask=(row < R) & inside, other=0.0).to(tl.float32)
        y = _response(x, alpha, k, BETA, RELU, REACH)
        larger = (y > largest) | (y != y)  # a NaN wins, as in torch
        largest, place = tl.where(larger, y, largest), tl.where(larger, each, place)
    offsets = _offsets(row, channel, C, PH * PW, CHANNELS_LAST)
    tl.store(y_ptr + offsets, largest, mask=(row < R) & inner)
    tl.store(place_ptr + offsets, place.to(tl.uint8), mask=(row < R) & inner)


@triton.jit
def _backward_pool_kernel(
    x_ptr,  # [N, C, H, W], contiguous or channels-last
    dy_ptr,  # [N, C, PH, PW], laid out as x
    place_ptr,  # uint8 as dy, from the forward kernel
    dx_ptr,  # as x
    C,
    G,  # channels of a group: all of them, or a part that divides C
    H,
    W,
    PH,
    PW,
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
    row, channel, inside, inner = _lanes(C, G, REACH, TILE_C, TILE_P)
    exists = (row < R) & inside
    pixel = row % (H * W)
    top, left = pixel // W, pixel % W
    dy = tl.zeros((TILE_C, TILE_P), tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            window_row, window_column = top // 2 - i, left // 2 - j
            down, right = top - 2 * window_row, left - 2 * window_column  # of the pixel in the window
            covers = (window_row >= 0) & (window_row < PH) & (window_column >= 0) & (window_column < PW)
            covers = covers & (down < 3) & (right < 3)
            window = row // (H * W) * (PH * PW) + window_row * PW + window_column
            offsets = _offsets(window, channel, C, PH * PW, CHANNELS_LAST)
            place = tl.load(place_ptr + offsets, mask=exists & covers, other=9)
            part = tl.load(dy_ptr + offsets, mask=exists & covers, other=0.0).to(tl.float32)
            dy += tl.where(place == down * 3 + right, part, 0.0)
    offsets = _offsets(row, channel, C, H * W, CHANNELS_LAST)
    x = tl.load(x_ptr + offsets, mask=exists, other=0.0).to(tl.float32)
    tl.store(dx_ptr + offsets, _gradient(x, dy, alpha, k, BETA, RELU, REACH), mask=(row < R) & inner)


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


def forward_pool(
    x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int
) -> tuple[Tensor, Tensor]:
    """(y, place): [N, C, PH, PW] in x's dtype and layout, and uint8 as y, for `backward_pool`; x is as in `forward`."""
    n, c, h, w = x.shape
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    y = torch.empty((n, c, (h - 3) // 2 + 1, (w - 3) // 2 + 1), dtype=x.dtype, device=x.device, memory_format=layout)
    place = torch.empty_like(y, dtype=torch.uint8)
    _launch(_forward_pool_kernel, (x, y, place), size, alpha, beta, k, relu, groups, pooled=y, by_pooled=True)
    return y, place


def backward_pool(
    dy: Tensor, place: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, relu: str, groups: int
) -> Tensor:
    """The gradient by x from dy, the gradient by y [N, C, PH, PW]; all of one memory format."""
    dx = torch.empty_like(x)
    _launch(_backward_pool_kernel, (x, dy, place, dx), size, alpha, beta, k, relu, groups, pooled=dy)
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
    kernel: Any,
    tensors: tuple[Tensor, ...],
    size: int,
    alpha: float,
    beta: float,
    k: float,
    relu: str,
    groups: int,
    pooled: Tensor | None = None,
    by_pooled: bool = False,
) -> None:
    """Starts `kernel` on the rows of x, the first of `tensors`, or on those of its pooled maps."""
    n, c, h, w = tensors[0].shape
    fixed = constants(size, beta, relu, channels_last=not tensors[0].is_contiguous())
    sizes: tuple[int, ...] = (h * w,)
    num_rows = n * h * w
    if pooled is not None:
        sizes = (h, w, *pooled.shape[2:])
        num_rows = n * pooled.shape[2] * pooled.shape[3] if by_pooled else num_rows
    num_steps = groups * triton.cdiv(c // groups, fixed["TILE_C"] - 4 * fixed["REACH"])
    grid = (num_steps * triton.cdiv(num_rows, fixed["TILE_P"]),)
    # Fusion is asked for by name because Triton's default changes in 3.10, and with it the last bit of the results.
    kernel[grid](*tensors, c, c // groups, *sizes, num_rows, alpha, k, **fixed, num_warps=4, enable_fp_fusion=True)
