"""The presets are the nets that they are named after: parameters, shapes, names, and the table in the docs."""

from pathlib import Path

import pytest
import torch

from model.alexnet import AlexNet
from model.presets import PRESETS, table

ROOT = Path(__file__).resolve().parents[1]

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
PARAMETERS = {"paper": 60_965_224, "original-2012": 60_965_224, "caffe": 60_965_224, "torchvision": 61_100_840}


def net(preset: str) -> AlexNet:
    with torch.device("meta"):
        return AlexNet(num_classes=1000, **PRESETS[preset].architecture)


@pytest.mark.parametrize(("preset", "count"), PARAMETERS.items())
def test_the_number_of_parameters_is_known(preset: str, count: int) -> None:
    assert sum(weight.numel() for weight in net(preset).parameters()) == count


def test_torchvisions_weights_would_load() -> None:
    state = net("torchvision").state_dict()
    assert {name: tuple(weight.shape) for name, weight in state.items()} == TORCHVISION


def test_the_documented_table_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "presets.md").read_text().endswith("\n" + table())
