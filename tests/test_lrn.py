"""The plain local response normalisation: the paper's formula, torch's own function, its gradient, its errors."""

import pytest
import torch
import torch.nn.functional as F

from model.lrn import local_response_norm


def values(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """Normal values of a size at which the paper's alpha matters: a window's sum adds about 5 to k = 2."""
    return (100 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_is_the_formula_of_the_paper(channels: int, size: int, relu: bool) -> None:
    x = values(2, channels, 3, 1)
    a = x.clamp(min=0) if relu else x
    expected = torch.empty_like(x)
    for i in range(channels):
        first, last = max(0, i - size // 2), min(channels - 1, i + size // 2)
        total = sum(a[:, j] ** 2 for j in range(first, last + 1))
        expected[:, i] = a[:, i] / (2 + 1e-4 * total) ** 0.75
    torch.testing.assert_close(local_response_norm(x, size, relu=relu), expected)


def test_is_torchs_own_with_alpha_times_size() -> None:
    x = values(2, 12, 5, 7, dtype=torch.float32)
    theirs = F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(local_response_norm(x), theirs)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(2, 6, 2, 1), (1, 2, 1, 1)], ids=["window inside", "window wider than all"])
def test_gradient(shape: tuple[int, ...], relu: bool) -> None:
    x = (values(*shape) / 100).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: local_response_norm(x, 5, 0.5, 0.75, 2.0, relu), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_types_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    x = values(2, 8, 3, 3, dtype=dtype)  # its squares pass float16's largest number
    assert torch.equal(local_response_norm(x), local_response_norm(x.float()).to(dtype))


def test_keeps_the_memory_format() -> None:
    x = values(2, 8, 3, 3).to(memory_format=torch.channels_last)
    y = local_response_norm(x, relu=True)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, local_response_norm(x.contiguous(), relu=True))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 4, 5), {}, "4 axes"),
        ((1, 3, 4, 5), {"size": 4}, "odd and positive"),
        ((1, 3, 4, 5), {"size": -1}, "odd and positive"),
        ((1, 3, 4, 5), {"k": 0.0}, "no divisor is 0"),
        ((1, 3, 4, 5), {"alpha": -1e-4}, "no divisor is 0"),
    ],
)
def test_refuses_what_has_no_meaning(shape: tuple[int, ...], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        local_response_norm(torch.ones(shape), **options)  # type: ignore[arg-type]
