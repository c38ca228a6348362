"""AlexNet: the paper's table, its parameters and their start, dropout, width, and what does not fit."""

from dataclasses import asdict
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from imagefeed.model.alexnet import AlexNet, AlexNetConfig

# The paper, section 3.5 and figure 2: layer, weights [units, inputs of a unit ...], parameters, output for one image.
TABLE = [
    ("conv1", (96, 3, 11, 11), 34_944, (96, 55, 55)),
    ("conv2", (256, 48, 5, 5), 307_456, (256, 27, 27)),
    ("conv3", (384, 256, 3, 3), 885_120, (384, 13, 13)),
    ("conv4", (384, 192, 3, 3), 663_936, (384, 13, 13)),
    ("conv5", (256, 192, 3, 3), 442_624, (256, 13, 13)),
    ("fc6", (4096, 9216), 37_752_832, (4096,)),
    ("fc7", (4096, 4096), 16_781_312, (4096,)),
    ("fc8", (1000, 4096), 4_097_000, (1000,)),
]


def images(count: int, seed: int = 0) -> Tensor:
    """Noise with the deviation of photographs, in grey levels."""
    return 58 * torch.randn((count, 3, 224, 224), generator=torch.Generator().manual_seed(seed))


def small(seed: int = 0, **options: Any) -> AlexNet:
    torch.manual_seed(seed)
    return AlexNet(**{"num_classes": 10, "width": 0.125} | options)


def layers(net: AlexNet) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: cast("nn.Conv2d | nn.Linear", layer) for name, layer in net.named_children()}


def outputs(net: AlexNet, x: Tensor) -> dict[str, Tensor]:
    """What each layer gives for x, before its ReLU."""
    seen: dict[str, Tensor] = {}
    for name, layer in layers(net).items():
        layer.register_forward_hook(lambda _layer, _inputs, output, name=name: seen.update({name: output}))
    net(x)
    return seen


def test_is_the_table_of_the_paper() -> None:
    with torch.device("meta"):  # shapes without values
        net = AlexNet()
        shapes = {name: tuple(y.shape) for name, y in outputs(net, torch.empty(2, 3, 224, 224)).items()}
    assert [
        (name, tuple(layer.weight.shape), sum(p.numel() for p in layer.parameters()), shapes[name][1:])
        for name, layer in layers(net).items()
    ] == TABLE
    assert sum(p.numel() for p in net.parameters()) == 60_965_224


def test_is_the_sequence_of_the_paper() -> None:
    """The same layers put together from torch's own parts; pools as in the 2012 code, which rounded sizes up."""
    net = small().eval()
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)
    norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    convolutions = nn.Sequential(
        *(nn.ZeroPad2d((0, 3, 0, 3)), net.conv1, relu, norm, pool),
        *(net.conv2, relu, norm, pool),
        *(net.conv3, relu, net.conv4, relu, net.conv5, relu, pool, nn.Flatten()),
    )
    x = images(2)
    hidden = relu(net.fc6(convolutions(x))) / 2
    logits = net.fc8(relu(net.fc7(hidden)) / 2)
    torch.testing.assert_close(net(x), logits, rtol=1e-4, atol=1e-5)


def test_starts_as_the_paper_says() -> None:
    torch.manual_seed(0)
    net = AlexNet()
    for name, layer in layers(net).items():
        assert layer.bias is not None
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02), name
        assert layer.bias.unique().tolist() == [float(name in ("conv2", "conv4", "conv5", "fc6", "fc7"))], name


def test_narrow_nets_keep_the_size_of_activations() -> None:
    x = images(8)
    with torch.no_grad():
        full, narrow = (outputs(small(width=width, dropout=0.0), x) for width in (1.0, 0.25))
    for name in full:
        assert narrow[name].square().mean().sqrt() == pytest.approx(full[name].square().mean().sqrt(), rel=0.25), name


def test_he_keeps_the_size_of_activations_from_layer_to_layer() -> None:
    net = small(initialisation="he", dropout=0.0)
    for name, layer in layers(net).items():
        assert layer.bias is not None and not layer.bias.any()
        assert layer.weight.std().item() == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.1), name
    with torch.no_grad():
        sizes = [y.square().mean().sqrt() for y in outputs(net, images(8)).values()]
    assert 0.5 < sizes[0] < 4
    assert all(0.4 < after / before < 2.5 for before, after in pairwise(sizes))


@pytest.mark.parametrize("width", [0.01, 0.1, 0.125, 0.3, 1.5])
def test_any_width_has_two_equal_groups(width: float) -> None:
    with torch.device("meta"):
        net = AlexNet(num_classes=7, width=width)
        assert net(torch.empty(2, 3, 224, 224)).shape == (2, 7)
    assert all(units % 2 == 0 for units in (net.conv1.out_channels, net.conv2.out_channels, net.conv4.out_channels))


def test_dropout_zeroes_half_in_training_and_halves_in_use() -> None:
    """In training fc7 sees units of fc6 as they are or as 0, never doubled; in use it sees all of them, halved."""
    net, x = small(), images(4)
    seen: list[Tensor] = []
    net.fc7.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0].detach()))
    net.fc6.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.detach().relu()))
    net.train()(x)
    units, dropped = seen
    kept = dropped != 0
    assert torch.equal(dropped[kept], units[kept])
    assert kept.sum() / (units != 0).sum() == pytest.approx(0.5, abs=0.1)
    seen.clear()
    net.eval()(x)
    units, halved = seen
    assert torch.equal(halved, units / 2)


def test_the_config_rebuilds_the_net() -> None:
    net = small(initialisation="he", dropout=0.25).eval()
    twin = AlexNet(**asdict(net.config)).eval()
    twin.load_state_dict(net.state_dict())
    assert torch.equal(net(images(1)), twin(images(1)))


def test_channels_last_gives_the_same_logits() -> None:
    net, x = small().eval(), images(2)
    torch.testing.assert_close(net(x.to(memory_format=torch.channels_last)), net(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("initialisation", ["paper", "he"])
def test_every_parameter_gets_a_gradient(initialisation: str) -> None:
    net = small(initialisation=initialisation, dropout=0.0)
    nn.functional.cross_entropy(net(images(4)), torch.arange(4)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, not 0"),
        ({"width": 0.0}, "width must be a positive number, not 0.0"),
        ({"width": float("nan")}, "width must be a positive number, not nan"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        ({"initialisation": "xavier"}, "initialisation must be .* not 'xavier'"),
    ],
)
def test_refuses_what_has_no_meaning(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlexNetConfig(**options)
