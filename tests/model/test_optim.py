"""The paper's update: a slow twin, what it shares with torch's own SGD, and where the two part."""

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagefeed.model.alexnet import AlexNet
from imagefeed.model.optim import LARS, PaperSGD, parameter_groups


def slow_twin(weight: Tensor, gradients: list[Tensor], rates: list[float], momentum: float, decay: float) -> Tensor:
    """Section 5 of the paper, number by number in Python's floats."""
    result = []
    for i, w in enumerate(weight.flatten().tolist()):
        v = 0.0
        for gradient, rate in zip(gradients, rates, strict=True):
            v = momentum * v - decay * rate * w - rate * gradient.flatten()[i].item()
            w = w + v
        result.append(w)
    return torch.tensor(result, dtype=weight.dtype).reshape(weight.shape)


def updated(optimizer: torch.optim.Optimizer, weight: Tensor, gradients: list[Tensor], rates: list[float]) -> Tensor:
    for gradient, rate in zip(gradients, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


@pytest.fixture
def gradients() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, 4, dtype=torch.float64, generator=generator) for _ in range(12)]


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4))


def test_it_is_the_papers_update(gradients: list[Tensor]) -> None:
    rates = [0.1] * 5 + [0.01] * 4 + [0.05] * 3  # a fall and a rise, each with steps after it
    weight = parameter()
    expected = slow_twin(weight.detach(), gradients, rates, momentum=0.8, decay=0.03)
    result = updated(PaperSGD([weight], 0.1, momentum=0.8, weight_decay=0.03), weight, gradients, rates)
    torch.testing.assert_close(result, expected, rtol=1e-13, atol=1e-13)


def test_at_a_constant_rate_torch_takes_the_same_steps(gradients: list[Tensor]) -> None:
    ours, theirs = parameter(), parameter()
    rates = [0.1] * len(gradients)
    torch.testing.assert_close(
        updated(PaperSGD([ours], 0.1), ours, gradients, rates),
        updated(torch.optim.SGD([theirs], 0.1, momentum=0.9, weight_decay=0.0005), theirs, gradients, rates),
        rtol=1e-12,
        atol=1e-12,
    )


def test_after_a_drop_the_old_velocity_fades_where_torch_stops_short() -> None:
    still = torch.zeros(1, dtype=torch.float64)
    gradients = [torch.ones(1, dtype=torch.float64)] * 50 + [still]
    rates = [0.1] * 50 + [0.01]
    steps = {}
    for kind in (PaperSGD, torch.optim.SGD):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = kind([weight], 0.1, momentum=0.9, weight_decay=0.0)
        before = updated(optimizer, weight, gradients[:-1], rates[:-1]).clone()
        steps[kind] = (updated(optimizer, weight, gradients[-1:], rates[-1:]) - before).item()
    assert steps[PaperSGD] == pytest.approx(10 * steps[torch.optim.SGD])


def test_groups_keep_their_own_rate_and_decay(gradients: list[Tensor]) -> None:
    first, second = parameter(), parameter()
    groups: list[dict[str, Any]] = [{"params": [first]}, {"params": [second], "lr": 0.02, "weight_decay": 0.0}]
    optimizer = PaperSGD(groups, 0.01)
    for gradient in gradients:
        first.grad = second.grad = gradient
        optimizer.step()
    count = len(gradients)
    for weight, rate, decay in ((first, 0.01, 0.0005), (second, 0.02, 0.0)):
        expected = slow_twin(parameter().detach(), gradients, [rate] * count, 0.9, decay)
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-13, atol=1e-13)


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    used, unused = parameter(), parameter()
    optimizer = PaperSGD([used, unused], 0.1, weight_decay=0.5)
    used.grad = torch.ones_like(used)
    optimizer.step()
    assert torch.equal(unused, parameter())
    assert not torch.equal(used, parameter())


def test_a_group_at_rate_0_is_frozen_though_it_has_a_velocity() -> None:
    weight = parameter()
    optimizer = PaperSGD([weight], 0.1)
    updated(optimizer, weight, [torch.ones_like(weight)], [0.1])
    frozen = weight.detach().clone()
    assert torch.equal(updated(optimizer, weight, [torch.ones_like(weight)], [0.0]), frozen)


def test_a_gradient_laid_out_in_another_way_is_still_each_weights_own(gradients: list[Tensor]) -> None:
    other = [gradient.T.contiguous().T for gradient in gradients]
    assert other[0].stride() != gradients[0].stride()
    results = []
    for each in (gradients, other):
        weight = parameter()
        weight.grad = each[0]  # as it is: a clone would be laid out anew
        PaperSGD([weight], 0.1).step()
        results.append(weight.detach())
    assert torch.equal(results[0], results[1])


def test_in_float32_it_is_four_plain_operations_up_to_rounding() -> None:
    """Within two of float32's steps an update; bit for bit they cannot be, as the kernel rounds less often."""
    generator = torch.Generator().manual_seed(3)
    weight, gradient, velocity = torch.randn((3, 1000), generator=generator)
    fused = nn.Parameter(weight.clone())
    optimizer = PaperSGD([fused], 0.01)
    optimizer.state[fused]["velocity"] = velocity.clone()
    fused.grad = gradient
    optimizer.step()
    plain = weight + (0.9 * velocity - 0.0005 * 0.01 * weight - 0.01 * gradient)
    assert (fused.detach() - plain).abs().max() <= 2 * torch.finfo(torch.float32).eps * plain.abs().max()


def test_every_parameter_has_one_group_and_biases_can_go_their_own_way() -> None:
    with torch.device("meta"):
        net = AlexNet(norm="batch")
    groups = parameter_groups(net, weight_decay=0.1, bias_rate=2.0, bias_decay=False)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in net.parameters())
    assert [(group["name"], len(group["params"]), group["factor"], group["weight_decay"]) for group in groups] == [
        *(("conv1", 1, 1.0, 0.1), ("conv1 bias", 1, 2.0, 0.0)),
        *(("weights", 7, 1.0, 0.1), ("biases", 7 + 14, 2.0, 0.0)),
    ]
    groups = parameter_groups(net, weight_decay=0.1, bias_rate=1.0, bias_decay=True)
    assert {(group["factor"], group["weight_decay"]) for group in groups} == {(1.0, 0.1)}


def test_it_continues_from_its_saved_state(gradients: list[Tensor]) -> None:
    rates = [0.1] * len(gradients)
    undisturbed = parameter()
    expected = updated(PaperSGD([undisturbed], 0.1), undisturbed, gradients, rates)

    weight = parameter()
    first = PaperSGD([weight], 0.1)
    updated(first, weight, gradients[:5], rates[:5])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = PaperSGD([weight], 0.3)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(updated(second, weight, gradients[5:], rates[5:]), expected)


def test_a_closure_is_called_with_gradients_on() -> None:
    weight = parameter()

    def closure() -> float:
        loss = (weight**2).sum()
        loss.backward()
        return loss.item()

    assert PaperSGD([weight], 0.1).step(closure) == (parameter() ** 2).sum().item()
    assert not torch.equal(weight, parameter())


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"lr": float("nan")}, {"momentum": 1.0}, {"weight_decay": -1.0}])
def test_options_without_meaning_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        PaperSGD([parameter()], **options)


def lars_twin(weight: Tensor, gradients: list[Tensor], rates: list[float], momentum: float, decay: float) -> Tensor:
    """Algorithm 1 of the LARS paper, number by number in Python's floats."""
    w, v = weight.flatten().tolist(), [0.0] * weight.numel()
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient.flatten().tolist()
        size, steepness = math.hypot(*w), math.hypot(*g)
        local = 0.001 * size / (steepness + decay * size) if size and steepness and weight.ndim > 1 else 1.0
        v = [momentum * vi + rate * local * (gi + decay * wi) for vi, gi, wi in zip(v, g, w, strict=True)]
        w = [wi - vi for wi, vi in zip(w, v, strict=True)]
    return torch.tensor(w, dtype=weight.dtype).reshape(weight.shape)


@pytest.mark.parametrize("form", ["a matrix", "a bias", "zeros", "no slope at first"])
def test_lars_is_its_papers_update(gradients: list[Tensor], form: str) -> None:
    rates = [10.0] * 5 + [1.0] * 4 + [5.0] * 3
    weight = nn.Parameter(torch.zeros(3, 4, dtype=torch.float64)) if form == "zeros" else parameter()
    if form == "a bias":
        weight, gradients = nn.Parameter(weight.detach().flatten()), [gradient.flatten() for gradient in gradients]
    if form == "no slope at first":
        gradients = [torch.zeros_like(gradients[0]), *gradients[1:]]
    expected = lars_twin(weight.detach(), gradients, rates, momentum=0.8, decay=0.03)
    result = updated(LARS([weight], 0.1, momentum=0.8, weight_decay=0.03), weight, gradients, rates)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    assert weight.grad is not None and torch.equal(weight.grad, gradients[-1])  # is left as it was
