"""The network of Krizhevsky, Sutskever and Hinton, 2012, as the paper's text has it, at any width.

Sources: section 3 and figure 2 (layers, order), 4.2 (dropout), 5 (initialisation). Where the text is silent: conv2 to
conv5 keep the size of their input, and 224 becomes 55 by three zeros at the right and the bottom, as in the 2012 code.
Ceil-mode pooling, which that code used, changes nothing here: 55, 27 and 13 divide with no rest.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.lrn import local_response_norm

# Layer: the inputs that one unit of the paper's net has.
PAPER_FAN_IN = {
    "conv1": 11 * 11 * 3,
    "conv2": 5 * 5 * 48,
    "conv3": 3 * 3 * 256,
    "conv4": 3 * 3 * 192,
    "conv5": 3 * 3 * 192,
    "fc6": 6 * 6 * 256,
    "fc7": 4096,
    "fc8": 4096,
}
BIAS_ONE = ("conv2", "conv4", "conv5", "fc6", "fc7")  # so that their ReLUs start with inputs above 0
GREY_LEVELS = 58.0  # about the deviation of photographs' pixels from their mean, of 255


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig:
    """What an AlexNet is built from. As a dict it is part of a checkpoint, and rebuilds the net: `AlexNet(**config)`.

    num_classes     units of the last layer, at least 1
    width           factor on the units of all other layers, rounded to even numbers for the two groups
    dropout         chance of a unit of fc6 or fc7 to be 0 in training, in [0, 1)
    initialisation  "paper": weights with a deviation of .01; biases 1 in conv2, conv4, conv5, fc6, fc7, else 0.
                    At other widths the deviation is .01 * sqrt(paper's inputs / inputs) of the layer's units, so
                    that activations keep the paper's size; with a plain .01 a narrow net's fade layer by layer.
                    "he": weights with a deviation of sqrt(2 / inputs), biases 0, the input divided by GREY_LEVELS.
                    The paper's start is a plateau: some 90 steps without progress on 10 classes of ImageNet (width
                    0.25, batch 64, rate .01), where "he" learns from the 30th. Take it for minutes on a CPU.
    """

    num_classes: int = 1000
    width: float = 1.0
    dropout: float = 0.5
    initialisation: Literal["paper", "he"] = "paper"

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {self.num_classes}")
        if not 0 < self.width < float("inf"):
            raise ValueError(f"width must be a positive number, not {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        if self.initialisation not in ("paper", "he"):
            raise ValueError(f'initialisation must be "paper" or "he", not {self.initialisation!r}')

    def units(self, paper: int) -> int:
        """The units of a layer that has `paper` of them at width 1: an even number, at least 2."""
        return max(2, 2 * round(paper * self.width / 2))


class AlexNet(nn.Module):
    """[B, 3, 224, 224] floating-point RGB, in grey levels (0..255) less their mean -> logits [B, num_classes].

    The options are the fields of `AlexNetConfig`; `AlexNet()` is the paper's net, of 60,965,224 parameters.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.config = config = AlexNetConfig(**options)
        c1, c2, c3, c4, c5, hidden = map(config.units, (96, 256, 384, 384, 256, 4096))
        self.conv1 = nn.Conv2d(3, c1, 11, stride=4)
        self.conv2 = nn.Conv2d(c1, c2, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1)
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(6 * 6 * c5, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, config.num_classes)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws all parameters anew, from torch's generator, as `AlexNetConfig.initialisation` says."""
        for name, layer in self.named_children():
            assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
            fan_in = layer.weight[0].numel()
            if self.config.initialisation == "paper":
                layer.weight.normal_(0, 0.01 * sqrt(PAPER_FAN_IN[name] / fan_in))
                layer.bias.fill_(name in BIAS_ONE)
            else:
                layer.weight.normal_(0, sqrt(2 / fan_in))
                layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if self.config.initialisation == "he":
            x = x / GREY_LEVELS
        x = F.pad(x, (0, 3, 0, 3))  # [B, 3, 227, 227]
        x = local_response_norm(self.conv1(x), relu=True)  # [B, 96, 55, 55]
        x = F.max_pool2d(x, 3, 2)  # [B, 96, 27, 27]
        x = local_response_norm(self.conv2(x), relu=True)  # [B, 256, 27, 27]
        x = F.max_pool2d(x, 3, 2)  # [B, 256, 13, 13]
        x = F.relu(self.conv3(x))  # [B, 384, 13, 13]
        x = F.relu(self.conv4(x))  # [B, 384, 13, 13]
        x = F.relu(self.conv5(x))  # [B, 256, 13, 13]
        x = F.max_pool2d(x, 3, 2)  # [B, 256, 6, 6]
        x = x.flatten(1)  # [B, 9216]
        x = self._dropout(F.relu(self.fc6(x)))  # [B, 4096]
        x = self._dropout(F.relu(self.fc7(x)))  # [B, 4096]
        return self.fc8(x)  # [B, num_classes]

    def _dropout(self, x: Tensor) -> Tensor:
        """The paper's: zeroed units in training, all of them *halved in use*; torch doubles survivors in training."""
        keep = 1 - self.config.dropout
        return keep * F.dropout(x, self.config.dropout, self.training)
