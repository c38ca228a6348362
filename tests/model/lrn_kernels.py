"""The kernels of local response normalisation against their plain twin, and what torch asks of operators.

`test_lrn_triton.py` runs this file, in Triton's interpreter and on a GPU: each in a process of its own, because whether
a kernel is interpreted is settled when it is decorated. Alone: `TRITON_INTERPRET=1 pytest tests/model/lrn_kernels.py`.
"""

# mypy: disable-error-code="no-untyped-def"
# (a kernel's arguments have no Python type)

import os
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from imagefeed.model import lrn_triton
from imagefeed.model.lrn import (
    fused,
    fused_backward,
    fused_pool,
    fused_pool_backward,
    local_response_norm_pool,
    reference,
)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
PAPER = (5, 1e-4, 0.75, 2.0)  # size, alpha, beta, k


def values(shape: tuple[int, ...], layout: str, dtype: torch.dtype, seed: int) -> Tensor:
    """Normal values of a size at which the paper's alpha matters, laid out in memory as `layout` says."""
    n, c, h, w = shape
    generator = torch.Generator().manual_seed(seed)
    if layout == "sliced":
        return (100 * torch.randn((n, c, h, 2 * w), generator=generator)).to(DEVICE, dtype)[..., ::2]
    x = (100 * torch.randn(shape, generator=generator)).to(DEVICE, dtype)
    return x.to(memory_format=torch.channels_last) if layout == "channels last" else x


def with_gradient(function: Any, x: Tensor, dy: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """y and the gradient by x."""
    x = x.detach().requires_grad_()
    y = function(x, *options)
    return y.detach(), torch.autograd.grad(y, x, dy)[0]


def check(x: Tensor, dy: Tensor, *options: Any) -> None:
    """Kernel and twin against the twin in float64: the kernel may err twice as much, and by some of float32's steps."""
    kernel = with_gradient(fused, x, dy, *options)
    twin = with_gradient(reference, x, dy, *options)
    exact = with_gradient(reference, x.double(), dy.double(), *options)
    for ours, theirs, truth in zip(kernel, twin, exact, strict=True):
        assert ours.dtype == x.dtype and ours.shape == x.shape
        steps = 4 * torch.finfo(torch.float32).eps
        if INTERPRETED and x.dtype == torch.bfloat16:
            steps = torch.finfo(torch.bfloat16).eps  # a GPU rounds to bfloat16, the interpreter cuts off
        assert (ours - truth).abs().max() <= 2 * (theirs - truth).abs().max() + steps * truth.abs().max()


SHAPES = [
    pytest.param((1, 1, 1, 1), id="a single value"),
    pytest.param((2, 3, 4, 4), id="fewer channels than a window"),
    pytest.param((3, 24, 7, 5), id="odd sizes, 105 pixels in tiles of 32, which so hold two samples"),
    pytest.param((1, 56, 3, 3), id="the 56 channels that one tile writes"),
    pytest.param((1, 57, 3, 3), id="one channel more"),
    pytest.param((1, 256, 3, 5), id="conv2's channels, in five tiles"),
]


DTYPES = torch.float32, torch.float16, torch.bfloat16
LAYOUTS = "contiguous", "channels last", "sliced"
RELUS = "none", "before", "after"


def cases(shapes: Sequence[Any]) -> Iterator[Any]:
    """Shapes, types, layouts and places of ReLU: all of them on a GPU; for the slow interpreter a third, in which each
    three of the four meet in every way."""
    sets: tuple[Any, ...] = shapes, DTYPES, LAYOUTS, RELUS
    for (s, shape), (d, dtype), (x, layout), (r, relu) in product(*(list(enumerate(each)) for each in sets)):
        if not INTERPRETED or (s + d + x + r) % 3 == 0:
            yield pytest.param(*shape.values, dtype, layout, relu, id=f"{shape.id}-{dtype}-{layout}-{relu}")


@pytest.mark.parametrize(("shape", "dtype", "layout", "relu"), list(cases(SHAPES)))
def test_is_its_twin(shape: tuple[int, ...], dtype: torch.dtype, layout: str, relu: str) -> None:
    check(values(shape, layout, dtype, 1), values(shape, layout, dtype, 2) / 100, *PAPER, relu, 1)


GROUPED = [
    pytest.param((2, 4, 3, 3), 2, id="two channels a group, fewer than a window"),
    pytest.param((1, 6, 2, 2), 6, id="every channel alone"),
    pytest.param((2, 96, 3, 5), 2, id="conv1 of 2012: 48 a group, less than a tile"),
    pytest.param((1, 256, 3, 3), 2, id="conv2 of 2012: 128 a group, in three tiles"),
]


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@pytest.mark.parametrize(("shape", "groups"), GROUPED)
def test_no_window_reaches_into_another_group(shape: tuple[int, ...], groups: int, layout: str) -> None:
    x, dy = (values(shape, layout, torch.float32, seed) for seed in (1, 2))
    check(x, dy, *PAPER, "before", groups)
    parts = [fused(part.contiguous(), *PAPER, "before", 1) for part in x.chunk(groups, 1)]
    assert torch.equal(fused(x, *PAPER, "before", groups), torch.cat(parts, 1))


OPTIONS = [
    pytest.param((1, 1e-4, 0.75, 2.0), id="a window of the channel alone"),
    pytest.param((3, 1e-3, 0.5, 1.0), id="a power other than 3/4"),
    pytest.param((33, 1e-4, 0.75, 2.0), id="a window that asks for a larger tile"),
    pytest.param((5, 0.0, 0.75, 2.0), id="no sum at all"),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_is_its_twin_with_other_options(options: tuple[Any, ...]) -> None:
    shape = (2, 70, 3, 3)
    check(
        values(shape, "contiguous", torch.float32, 1), values(shape, "sliced", torch.float32, 2), *options, "before", 1
    )


@triton.jit
def _count_writes(x_ptr, count_ptr, C, G, P, R, alpha, k, BETA: tl.constexpr, RELU: tl.constexpr, REACH: tl.constexpr,
                  CHANNELS_LAST: tl.constexpr, TILE_C: tl.constexpr, TILE_P: tl.constexpr):  # fmt: skip
    offsets, _, writes = lrn_triton._tile(C, G, P, R, REACH, CHANNELS_LAST, TILE_C, TILE_P)
    tl.atomic_add(count_ptr + offsets, 1, mask=writes)


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_value_is_written_once(shape: tuple[int, ...], layout: str) -> None:
    """Tiles overlap: a second, wrong write could be hidden by the order in which programs happen to run."""
    count = torch.zeros_like(values(shape, layout, torch.float32, 1), dtype=torch.int32)
    lrn_triton._launch(_count_writes, (count, count), *PAPER, "before", 1)
    assert (count == 1).all()


def test_no_sample_gives_none() -> None:
    assert fused(torch.empty((0, 8, 3, 3), device=DEVICE), *PAPER, "before", 1).shape == (0, 8, 3, 3)


@pytest.mark.parametrize("relu", ["before", "after"])
def test_gradient_is_zero_where_relu_is_flat(relu: str) -> None:
    x = torch.tensor([-1.0, 0.0, -0.0, 2.0], device=DEVICE).reshape(1, 4, 1, 1)
    _, dx = with_gradient(fused, x, torch.ones_like(x), *PAPER, relu, 4)
    assert (dx.flatten() != 0).tolist() == [False, False, False, True]


@pytest.mark.parametrize("relu", ["none", "before", "after"])
def test_a_nan_is_not_hidden(relu: str) -> None:
    """It reaches exactly what it reaches in the twin: a diverging run must show."""
    x = values((1, 20, 2, 1), "contiguous", torch.float32, 1)
    x[0, 9, 1, 0] = torch.nan
    dy = torch.ones_like(x)
    for ours, theirs in zip(
        with_gradient(fused, x, dy, *PAPER, relu, 1), with_gradient(reference, x, dy, *PAPER, relu, 1), strict=True
    ):
        assert torch.equal(ours.isnan(), theirs.isnan())


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "sliced"])
def test_torch_accepts_the_operators(layout: str) -> None:
    """Schema, shapes and strides without data, autograd and tracing, as `torch.library` checks them."""
    x = values((2, 8, 3, 4), layout, torch.float32, 1)
    torch.library.opcheck(fused, (x.requires_grad_(), *PAPER, "before", 2))
    torch.library.opcheck(fused_backward, (torch.ones_like(x), x.detach(), *PAPER, "before", 2))


def test_compiles_into_one_graph() -> None:
    x = values((2, 8, 3, 4), "channels last", torch.float32, 1)
    dy = values((2, 8, 3, 4), "channels last", torch.float32, 2)
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
    for ours, eager in zip(
        with_gradient(compiled, x, dy, *PAPER, "before", 2),
        with_gradient(fused, x, dy, *PAPER, "before", 2),
        strict=True,
    ):
        assert torch.equal(ours, eager) and ours.stride() == eager.stride()


def pooled(x: Tensor, *options: Any) -> Tensor:
    """The twin of norm and pooling."""
    return F.max_pool2d(reference(x, *options), 3, 2)


POOLED = [
    pytest.param((1, 1, 3, 3), 1, id="a single window"),
    pytest.param((2, 3, 5, 7), 1, id="fewer channels than a norm's window; pixels in one, two and four of the pool's"),
    pytest.param((2, 24, 6, 4), 1, id="even sizes: the last row and column are in no window"),
    pytest.param((3, 57, 7, 5), 1, id="a channel more than a tile writes, 18 pooled pixels in a tile of 32"),
    pytest.param((1, 96, 5, 6), 2, id="conv1 of 2012: 48 channels a group"),
]


@pytest.mark.parametrize(("shape", "groups", "dtype", "layout", "relu"), list(cases(POOLED)))
def test_with_pooling_it_is_its_twin(
    shape: tuple[int, ...], groups: int, dtype: torch.dtype, layout: str, relu: str
) -> None:
    """The twin pools what was computed in float64, so that rounding makes no ties; ours must choose the same places."""
    x = values(shape, layout, dtype, 1)
    options = (*PAPER, relu, groups)
    exact = pooled(x.double(), *options)
    dy = values(tuple(exact.shape), "contiguous", dtype, 2) / 100
    ours = with_gradient(lambda x, *options: fused_pool(x, *options)[0], x, dy, *options)
    truths = with_gradient(pooled, x.double(), dy.double(), *options)
    step = max(8 * torch.finfo(torch.float32).eps, torch.finfo(dtype).eps)
    for each, truth in zip(ours, truths, strict=True):
        assert each.dtype == dtype and each.shape == truth.shape
        assert (each - truth).abs().max() <= step * truth.abs().max()


def test_with_pooling_a_nan_is_not_hidden() -> None:
    x = values((1, 20, 7, 7), "contiguous", torch.float32, 1)
    x[0, 9, 3, 4] = torch.nan
    assert torch.equal(fused_pool(x, *PAPER, "before", 1)[0].isnan(), pooled(x, *PAPER, "before", 1).isnan())


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "sliced"])
def test_torch_accepts_the_operators_with_pooling(layout: str) -> None:
    x = values((2, 8, 3, 5), layout, torch.float32, 1)
    y, place = fused_pool(x, *PAPER, "before", 2)
    torch.library.opcheck(fused_pool, (x.requires_grad_(), *PAPER, "before", 2))
    torch.library.opcheck(fused_pool_backward, (torch.ones_like(y), place, x.detach(), *PAPER, "before", 2))


def test_with_pooling_it_compiles_into_one_graph() -> None:
    x = values((2, 8, 5, 6), "channels last", torch.float32, 1)
    compiled = torch.compile(local_response_norm_pool, fullgraph=True, backend="aot_eager")
    dy = torch.ones_like(fused_pool(x, *PAPER, "before", 2)[0])
    for ours, eager in zip(
        with_gradient(compiled, x, dy, *PAPER, "before", 2),
        with_gradient(local_response_norm_pool, x, dy, *PAPER, "before", 2),
        strict=True,
    ):
        assert torch.equal(ours, eager) and ours.stride() == eager.stride()
