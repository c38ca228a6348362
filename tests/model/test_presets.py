"""The presets are the nets that they are named after: parameters, shapes, names, and the table in the docs."""

from pathlib import Path

import pytest
import torch

from imagefeed.model.alexnet import AlexNet
from imagefeed.model.presets import PRESETS, table

ROOT = Path(__file__).resolve().parents[2]

# `torchvision/models/alexnet.py`: features.{0,3,6,8,10} are the convolutions, classifier.{1,4,6} the matrices.
TORCHVISION = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216),
    "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096),
    "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096),
    "classifier.6.bias": (1000,),
}
PARAMETERS = {
    "paper": 60_965_224,
    "original-2012": 60_965_224,
    "caffe": 60_965_224,
    "torchvision": 61_100_840,
    "modern": 62_397_480,
}
FC = ((4096, 9216), (4096, 4096), (1000, 4096))
# Of each layer its weights, [units, inputs of a unit ...]; in the towers a unit of conv2, 4 and 5 sees half.
TOWERS = ((96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3), *FC)
WEIGHTS = {
    "paper": TOWERS,
    "original-2012": TOWERS,
    "caffe": TOWERS,
    "torchvision": ((64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3), *FC),
    "modern": ((96, 3, 11, 11), (256, 96, 5, 5), (384, 256, 3, 3), (384, 384, 3, 3), (256, 384, 3, 3), *FC),
}
MAPS = (55, 27, 13, 13, 13)  # height and width of the convolutions' outputs


def net(preset: str) -> AlexNet:
    with torch.device("meta"):
        return AlexNet(num_classes=1000, **PRESETS[preset].architecture)


@pytest.mark.parametrize(("preset", "count"), PARAMETERS.items())
def test_the_number_of_parameters_is_known(preset: str, count: int) -> None:
    assert sum(weight.numel() for weight in net(preset).parameters()) == count


@pytest.mark.parametrize("preset", PRESETS)
def test_every_layer_has_the_shapes_of_its_source(preset: str) -> None:
    network, seen = net(preset), []
    for layer in network.layers().values():
        layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(tuple(output.shape)))
    size = network.config.input_size
    network(torch.empty(2, 3, size, size, device="meta"))
    assert tuple(tuple(layer.weight.shape) for layer in network.layers().values()) == WEIGHTS[preset]
    units = [shape[0] for shape in WEIGHTS[preset]]
    convolutions = [(2, n, side, side) for n, side in zip(units[:5], MAPS, strict=True)]
    assert seen == [*convolutions, *((2, n) for n in units[5:])]


def test_torchvisions_weights_would_load() -> None:
    state = net("torchvision").state_dict()
    assert {name: tuple(weight.shape) for name, weight in state.items()} == TORCHVISION


def test_the_documented_table_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "presets.md").read_text().endswith("\n" + table())
