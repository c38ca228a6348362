"""Local response normalisation on a CPU: the paper's formula, torch's own function, gradients, the operator, errors."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from imagefeed.model.lrn import RELU, Relu, fused, fused_backward, local_response_norm, reference, within_map_norm


def values(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """Normal values of a size at which the paper's alpha matters: a window's sum adds about 5 to k = 2."""
    return (100 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("relu", RELU)
@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (4, 1), (7, 1), (8, 2), (6, 3)])
def test_is_the_formula_of_the_paper(channels: int, groups: int, size: int, relu: Relu) -> None:
    x = values(2, channels, 3, 1)
    a = x.clamp(min=0) if relu == "before" else x
    expected = torch.empty_like(x)
    for i in range(channels):
        begin = i // (channels // groups) * (channels // groups)  # of its group
        first, last = max(begin, i - size // 2), min(begin + channels // groups - 1, i + size // 2)
        total = sum(a[:, j] ** 2 for j in range(first, last + 1))
        expected[:, i] = a[:, i] / (2 + 1e-4 * total) ** 0.75
    expected = expected.clamp(min=0) if relu == "after" else expected
    torch.testing.assert_close(local_response_norm(x, size, relu=relu, groups=groups), expected)
    torch.testing.assert_close(
        local_response_norm(x.float(), size, relu=relu, groups=groups), expected.float(), rtol=1e-5, atol=1e-5
    )


def test_is_torchs_own_with_alpha_times_size() -> None:
    x = values(2, 12, 5, 7, dtype=torch.float32)
    theirs = F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(local_response_norm(x), theirs)


@pytest.mark.parametrize("relu", RELU)
@pytest.mark.parametrize("shape", [(2, 6, 2, 1), (1, 2, 1, 1)], ids=["window inside", "window wider than all"])
def test_gradient(shape: tuple[int, ...], relu: Relu) -> None:
    x = (values(*shape) / 100).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: local_response_norm(x, 5, 0.5, 0.75, 2.0, relu), x)
    assert torch.autograd.gradgradcheck(lambda x: local_response_norm(x, 5, 0.5, 0.75, 2.0, relu), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("relu", RELU)
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        pytest.param((1, 1, 1, 1), (5, 1e-4, 0.75, 2.0), id="a single value"),
        pytest.param((2, 3, 5, 3), (5, 1e-4, 0.75, 2.0), id="fewer channels than a window, odd sizes"),
        pytest.param((2, 24, 3, 3), (7, 1e-3, 0.5, 1.0), id="a power other than 3/4"),
        pytest.param((3, 300, 20, 31), (5, 1e-4, 0.75, 2.0), id="more samples than a block"),
        pytest.param((0, 3, 2, 2), (5, 1e-4, 0.75, 2.0), id="no sample"),
    ],
)
def test_the_operator_errs_no_more_than_twice_its_twin(
    shape: tuple[int, ...],
    options: tuple[int, float, float, float],
    relu: Relu,
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> None:
    """Value and gradient, against float64; a few of float32's steps are granted."""
    x, dy = (values(*shape, dtype=dtype, seed=seed).to(memory_format=layout) for seed in (0, 1))
    results = []
    for function, wide in ((fused, False), (reference, False), (reference, True)):
        leaf = (x.double() if wide else x).detach().requires_grad_()
        y = function(leaf, *options, relu, 1)
        (dx,) = torch.autograd.grad(y, leaf, dy.to(y.dtype))
        results.append((y.detach(), dx))
    for ours, theirs, exact in zip(*results, strict=True):
        if x.numel() == 0:
            assert ours.shape == x.shape
            continue
        assert ours.dtype == dtype and ours.stride() == x.stride()
        bound = 2 * (theirs - exact).abs().max() + 4 * torch.finfo(torch.float32).eps * exact.abs().max()
        assert (ours - exact).abs().max() <= bound


def test_torch_accepts_the_operators() -> None:
    """Schema, shapes and strides without data, autograd and tracing, as `torch.library` checks them."""
    x = values(2, 8, 3, 4, dtype=torch.float32).to(memory_format=torch.channels_last)
    options = (5, 1e-4, 0.75, 2.0, "before", 2)
    torch.library.opcheck(fused, (x.requires_grad_(), *options))
    torch.library.opcheck(fused_backward, (torch.ones_like(x), x.detach(), *options))


def test_within_a_map_it_is_the_formula_of_the_2012_code() -> None:
    a = values(2, 3, 7, 6)
    expected = torch.empty_like(a)
    for row in range(7):
        for column in range(6):
            around = a[:, :, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
            scale = 1 + 0.001 / 25 * (around**2).sum((2, 3))
            expected[:, :, row, column] = a[:, :, row, column] / scale**0.75
    torch.testing.assert_close(within_map_norm(a), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_types_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    x = values(2, 8, 3, 3, dtype=dtype)  # its squares pass float16's largest number
    assert torch.equal(local_response_norm(x), local_response_norm(x.float()).to(dtype))


def test_keeps_the_memory_format() -> None:
    x = values(2, 8, 3, 3).to(memory_format=torch.channels_last)
    y = local_response_norm(x, relu="before")
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, local_response_norm(x.contiguous(), relu="before"))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 4, 5), {}, "4 axes"),
        ((1, 3, 4, 5), {"size": 4}, "odd and positive"),
        ((1, 3, 4, 5), {"size": -1}, "odd and positive"),
        ((1, 3, 4, 5), {"k": 0.0}, "no divisor is 0"),
        ((1, 3, 4, 5), {"alpha": -1e-4}, "no divisor is 0"),
        ((1, 3, 4, 5), {"relu": True}, "relu must be one of none, before, after, not True"),
        ((1, 3, 4, 5), {"groups": 2}, "3 channels do not make 2 equal groups"),
    ],
)
def test_refuses_what_has_no_meaning(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        local_response_norm(torch.ones(shape), **options)
