"""The network of Krizhevsky, Sutskever and Hinton, 2012, at any width, with its relatives' differences as fields.

Sources: section 3 and figure 2 of the paper (layers, order), 4.2 (dropout), 5 (initialisation); the code of 2012,
Caffe's bvlc_alexnet and torchvision's alexnet for what they do otherwise. Which of them has which value is said by
`model/presets.py`. Where the paper is silent the defaults are those of the code of 2012: conv2 to conv5 keep the size
of their input, and 224 becomes 55 by three zeros at the right and the bottom. Ceil-mode pooling, which that code used,
changes nothing here: 55, 27 and 13 divide with no rest.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagefeed.model.lrn import local_response_norm, local_response_norm_pool, within_map_norm

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
# The inputs that one unit of the paper's net has, layer by layer.
PAPER_FAN_IN = (11 * 11 * 3, 5 * 5 * 48, 3 * 3 * 256, 3 * 3 * 192, 3 * 3 * 192, 6 * 6 * 256, 4096, 4096)
BIASED = ("conv2", "conv4", "conv5", "fc6", "fc7")  # so that their ReLUs start with inputs above 0
GREY_LEVELS = 58.0  # about the deviation of photographs' pixels from their mean, of 255
# Under which names torchvision 0.28 keeps the layers in a state_dict: torchvision/models/alexnet.py.
TORCHVISION_NAMES = (
    *("features.0", "features.3", "features.6", "features.8", "features.10"),
    *("classifier.1", "classifier.4", "classifier.6"),
)

Order = Literal["relu-norm-pool", "norm-pool-relu", "relu-pool-norm"]
ORDERS = ("relu-norm-pool", "norm-pool-relu", "relu-pool-norm")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What an AlexNet is built from, but for its classes. The defaults are the paper's text."""

    width: float = 1.0
    """Factor on the channels and units of every layer but the last, rounded to even numbers for the two groups."""
    channels: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    """Of the five convolutions at width 1."""
    groups: int = 2
    """Parts of conv2, conv4 and conv5, each of which sees its part of the channels alone: the two GPUs of 2012."""
    input_size: int = 224
    """Height and width of the images."""
    input_padding: tuple[int, int] = (0, 3)
    """Zeros before (left, top) and after (right, bottom) the image, so that 224 (or 227 with none) becomes 55."""

    norm: Literal["lrn", "batch", "none"] = "lrn"
    """lrn: local response norm after conv1 and conv2. batch: batch norm after all layers but the last, before ReLU."""
    conv1_order: Order = "relu-norm-pool"
    """Of ReLU, local response norm and pooling after conv1."""
    conv2_order: Order = "relu-norm-pool"
    """The same after conv2."""
    lrn_scope: Literal["all", "group"] = "all"
    """Channels that a window may reach: all, or those of its group alone."""
    lrn_alpha: float = 1e-4
    """Weight of the window's sum of squares, or of their mean."""
    lrn_alpha_of: Literal["sum", "mean"] = "sum"
    """What alpha weighs: the paper's formula has the sum, all code has the mean (alpha / 5 times the sum)."""
    lrn_k: float = 2.0
    """What is added to it."""
    within_map_norm: bool = False
    """The second norm after conv2 (cnorm2): over 5x5 pixels of the same map, scale .001 on their mean, k = 1."""

    dropout: float = 0.5
    """Chance of a unit of the hidden layers to be left out in a step."""
    dropout_at: Literal["outputs", "inputs"] = "outputs"
    """Of fc6 and fc7: their outputs, as in the paper, or their inputs."""
    dropout_scales: Literal["in use", "in training"] = "in use"
    """When the missing units are made good: all of them halved in use, or the others doubled in training."""

    initialisation: Literal["paper", "he", "torch"] = "paper"
    """paper: normal weights with weight_std, hidden_bias. he: normal with a deviation of sqrt(2 / inputs), biases 0,
    and grey levels divided by 58; learns from the first step on. torch: torch's own, uniform."""
    weight_std: tuple[float, float, float, float, float, float, float, float] = (0.01,) * 8
    """For paper: deviations of conv1 to fc8, at other widths times sqrt(paper's inputs / inputs) of the layer's units:
    activations then keep the paper's size, where with a plain .01 a narrow net's fade layer by layer."""
    hidden_bias: float = 1.0
    """For paper: the first biases of conv2, conv4, conv5, fc6 and fc7; those of the others are 0."""

    inputs: Literal["grey levels", "standard"] = "grey levels"
    """What the images come in: grey levels (0 to 255) less their mean, or standard deviations from it."""
    layer_names: Literal["paper", "torchvision"] = "paper"
    """In a state_dict: conv1 ... fc8, or torchvision's, so that its published weights load."""

    def __post_init__(self) -> None:
        if not 0 < self.width < float("inf"):
            raise ValueError(f"width must be a positive number, not {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        if self.groups not in (1, 2):
            raise ValueError(f"groups must be 1 or 2, not {self.groups}")
        if (self.input_size + sum(self.input_padding) - 11) // 4 != 54 or min(self.input_padding) < 0:
            raise ValueError(
                f"conv1 must give 55 x 55: input_size {self.input_size} with input_padding {self.input_padding} "
                "does not; 224 with (0, 3) does"
            )
        choices = {
            "norm": ("lrn", "batch", "none"),
            "conv1_order": ORDERS,
            "conv2_order": ORDERS,
            "initialisation": ("paper", "he", "torch"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")

    def units(self, paper: int) -> int:
        """The units of a layer that has `paper` of them at width 1: an even number, at least 2."""
        return max(2, 2 * round(paper * self.width / 2))


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig(Architecture):
    """An architecture and its classes. As a dict it is part of a checkpoint, and rebuilds the net: `AlexNet(**it)`."""

    num_classes: int = 1000
    """Units of the last layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {self.num_classes}")


class AlexNet(nn.Module):
    """[B, 3, S, S] floating-point RGB, S = input_size, less its mean -> logits [B, num_classes].

    The options are the fields of `AlexNetConfig`; `AlexNet()` is the paper's net, of 60,965,224 parameters.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.config = config = AlexNetConfig(**options)
        c1, c2, c3, c4, c5, hidden = map(config.units, (*config.channels, 4096))
        self.conv1 = nn.Conv2d(3, c1, 11, stride=4)
        self.conv2 = nn.Conv2d(c1, c2, 5, padding=2, groups=config.groups)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1)
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=1, groups=config.groups)
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=1, groups=config.groups)
        self.fc6 = nn.Linear(6 * 6 * c5, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, config.num_classes)
        if config.norm == "batch":
            kinds = [nn.BatchNorm2d] * 5 + [nn.BatchNorm1d] * 2
            sizes = (c1, c2, c3, c4, c5, hidden, hidden)
            self.norms = nn.ModuleList(kind(size) for kind, size in zip(kinds, sizes, strict=True))
        if config.layer_names == "torchvision":
            self.register_state_dict_post_hook(_to_torchvision)
            self.register_load_state_dict_pre_hook(_from_torchvision)
        self.reset_parameters()

    def layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """The eight layers with weights, by name, in order."""
        return {name: getattr(self, name) for name in LAYERS}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws all weights anew, from torch's generator, as `Architecture.initialisation` says."""
        kind = self.config.initialisation
        for (name, layer), std, paper_fan_in in zip(
            self.layers().items(), self.config.weight_std, PAPER_FAN_IN, strict=True
        ):
            assert layer.bias is not None
            fan_in = layer.weight[0].numel()
            if kind == "torch":
                layer.reset_parameters()
            elif kind == "he":
                layer.weight.normal_(0, sqrt(2 / fan_in))
                layer.bias.zero_()
            else:
                layer.weight.normal_(0, std * sqrt(paper_fan_in / fan_in))
                layer.bias.fill_(self.config.hidden_bias if name in BIASED else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc8(self.features(x))  # [B, num_classes]

    def features(self, x: Tensor) -> Tensor:
        """What the last layer is given: the outputs of the last hidden one, [B, 4096] at width 1."""
        config = self.config
        if config.initialisation == "he" and config.inputs == "grey levels":
            x = x / GREY_LEVELS
        before, after = config.input_padding
        x = F.pad(x, (before, after, before, after))  # [B, 3, 227, 227]
        x = self._block(0, self.conv1(x), config.conv1_order)  # [B, 96, 27, 27]
        x = self._block(1, self.conv2(x), config.conv2_order)  # [B, 256, 13, 13]
        x = self._relu(2, self.conv3(x))  # [B, 384, 13, 13]
        x = self._relu(3, self.conv4(x))  # [B, 384, 13, 13]
        x = self._relu(4, self.conv5(x))  # [B, 256, 13, 13]
        x = F.max_pool2d(x, 3, 2)  # [B, 256, 6, 6]
        x = x.flatten(1)  # [B, 9216]
        if config.dropout_at == "inputs":
            x = self._relu(5, self.fc6(self._dropout(x)))  # [B, 4096]
            return self._relu(6, self.fc7(self._dropout(x)))  # [B, 4096]
        x = self._dropout(self._relu(5, self.fc6(x)))  # [B, 4096]
        return self._dropout(self._relu(6, self.fc7(x)))  # [B, 4096]

    def _relu(self, number: int, x: Tensor) -> Tensor:
        """ReLU, after batch norm where there is one."""
        return F.relu(self.norms[number](x) if self.config.norm == "batch" else x)

    def _block(self, number: int, x: Tensor, order: str) -> Tensor:
        """What follows on conv1 (number 0) and conv2 (1): ReLU, norm and pooling, each in its place."""
        if self.config.norm != "lrn":
            return F.max_pool2d(self._relu(number, x), 3, 2)
        if order == "relu-pool-norm":
            x = local_response_norm(F.max_pool2d(F.relu(x), 3, 2), **self._norm_options)
            return within_map_norm(x) if number == 1 and self.config.within_map_norm else x
        # ReLU and max pooling change places without a change of result, so that both share a pass with the norm.
        relu: Literal["before", "after"] = "before" if order == "relu-norm-pool" else "after"
        if number == 1 and self.config.within_map_norm:
            return F.max_pool2d(within_map_norm(local_response_norm(x, **self._norm_options, relu=relu)), 3, 2)
        return local_response_norm_pool(x, **self._norm_options, relu=relu)

    @property
    def _norm_options(self) -> dict[str, Any]:
        config, size = self.config, 5
        alpha = config.lrn_alpha / (size if config.lrn_alpha_of == "mean" else 1)
        groups = 2 if config.lrn_scope == "group" else 1
        return {"size": size, "alpha": alpha, "beta": 0.75, "k": config.lrn_k, "groups": groups}

    def _dropout(self, x: Tensor) -> Tensor:
        """The paper's: zeroed units in training, all of them *halved in use*; torch doubles survivors in training."""
        x = F.dropout(x, self.config.dropout, self.training)
        return x if self.config.dropout_scales == "in training" else (1 - self.config.dropout) * x


def _to_torchvision(_net: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    for ours, theirs in zip(LAYERS, TORCHVISION_NAMES, strict=True):
        for kind in ("weight", "bias"):
            state[f"{prefix}{theirs}.{kind}"] = state.pop(f"{prefix}{ours}.{kind}")


def _from_torchvision(_net: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for ours, theirs in zip(LAYERS, TORCHVISION_NAMES, strict=True):
        for kind in ("weight", "bias"):
            if f"{prefix}{theirs}.{kind}" in state:
                state[f"{prefix}{ours}.{kind}"] = state.pop(f"{prefix}{theirs}.{kind}")
