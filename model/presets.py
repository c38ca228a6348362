"""The AlexNets that people mean as named sets of fields: the paper, its authors' code, Caffe, torchvision, today's.

Each point in which they differ is one field of `Preset`, so that any of them can be changed alone. docs/presets.md says
where each value comes from; `python -m imagefeed.model.presets` prints its table.
"""

from dataclasses import dataclass, fields
from typing import Literal

import torch

from imagefeed.model.alexnet import AlexNet, Architecture
from imagefeed.model.schedule import Schedule, scaled_rate


@dataclass(frozen=True, kw_only=True)
class Preset(Architecture):
    """An architecture and how it is trained. The defaults are the paper's text."""

    recipe: Literal["alexnet", "alexnet-2012", "resnet"] = "alexnet"
    """Crop, mirror, mean, colour: alexnet subtracts the per-pixel mean at the crop's own window, alexnet-2012 that of
    the centre, resnet the mean of each channel, and divides by its deviation."""
    colour_epochs: int | None = None
    """Epochs with colour noise, from the first on; by default all of them."""

    epochs: int = 90
    """Passes over the training images, in all."""
    batch_size: int = 128
    """Images a step, over all ranks together."""
    learning_rate: float = 0.01
    """Rate before any reduction."""
    reference_batch: int | None = None
    """Batch size that the rate is meant for: at others it is scaled linearly. By default it is the rate at any."""
    momentum: float = 0.9
    """Share of its velocity that a weight keeps from step to step."""
    weight_decay: float = 0.0005
    """Pull of weights towards 0, times the rate."""
    sgd: Literal["paper", "torch", "lars"] = "paper"
    """Where the rate is: inside the velocity (paper), or outside (torch); after a reduction they differ for some tens
    of steps. lars: as paper, times a factor of each layer's own, for large batches; its rates are far higher."""
    bias_rate: float = 1.0
    """Factor on the rate of the biases."""
    bias_rate_falls: bool = True
    """Whether the biases' rate follows the schedule; else it stays where it began."""
    bias_decay: bool = True
    """Whether biases (and batch norm's factors) decay as well."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes."""

    schedule: Literal["plateau", "steps", "cosine"] = "plateau"
    """How the rate falls: by 10 as the validation error stalls (the paper's) or after given epochs, or as a cosine."""
    patience: int = 5
    """For plateau: epochs without a new lowest validation error before a reduction, of which there are at most 3."""
    milestones: tuple[int, ...] = ()
    """For steps: the epochs, counted from 1, after which the rate is divided."""
    warm_up: int = 0
    """Epochs over which the rate rises linearly at first."""
    conv1_slows: int | None = None
    """Epochs after which conv1's rate is a tenth of the others'."""
    conv1_stops: int | None = None
    """Epochs after which conv1 stands still."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), not {self.label_smoothing}")
        for name in ("colour_epochs", "conv1_slows", "conv1_stops"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.recipe == "resnet" and self.inputs != "standard":
            raise ValueError("recipe resnet gives standard deviations: it needs inputs standard")
        _ = self.rates  # checks its own fields

    @property
    def architecture(self) -> dict[str, object]:
        """The options of `AlexNet`, but for its classes."""
        return {field.name: getattr(self, field.name) for field in fields(Architecture)}

    @property
    def rates(self) -> Schedule:
        """The schedule of the weights' rate."""
        return Schedule(
            kind=self.schedule,
            learning_rate=scaled_rate(
                self.learning_rate, batch_size=self.batch_size, reference_batch=self.reference_batch
            ),
            patience=self.patience,
            milestones=self.milestones,
            warm_up=self.warm_up,
            epochs=self.epochs,
        )

    @property
    def drop_last(self) -> bool:
        """Whether an epoch's last samples are left out: batch norm would count padded rows as images, black ones."""
        return self.norm == "batch"

    def group_rate(self, group: str, factor: float, rate: float, epoch: int) -> float:
        """The rate of one of `parameter_groups`, in an epoch (from 1), where the schedule says `rate`."""
        if "bias" in group and not self.bias_rate_falls:
            rate = self.rates.learning_rate
        if group.startswith("conv1"):
            if self.conv1_stops is not None and epoch > self.conv1_stops:
                return 0.0
            if self.conv1_slows is not None and epoch > self.conv1_slows and group == "conv1":
                rate /= 10
        return factor * rate


PAPER = Preset()

ORIGINAL_2012 = Preset(
    conv1_order="norm-pool-relu",
    lrn_scope="group",
    lrn_alpha_of="mean",
    within_map_norm=True,
    weight_std=(0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
    recipe="alexnet-2012",
    colour_epochs=66,
    bias_rate=2.0,
    bias_rate_falls=False,
    bias_decay=False,
    schedule="steps",
    milestones=(24, 50, 78),
    conv1_slows=66,
    conv1_stops=71,
)

CAFFE = Preset(
    input_size=227,
    input_padding=(0, 0),
    lrn_alpha_of="mean",
    lrn_k=1.0,
    dropout_scales="in training",
    weight_std=(0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
    hidden_bias=0.1,
    colour_epochs=0,
    batch_size=256,
    bias_rate=2.0,
    bias_decay=False,
    schedule="steps",
    milestones=(20, 40, 60, 80),
)

TORCHVISION = Preset(
    channels=(64, 192, 384, 256, 256),
    groups=1,
    input_padding=(2, 2),
    norm="none",
    dropout_at="inputs",
    dropout_scales="in training",
    initialisation="torch",
    inputs="standard",
    layer_names="torchvision",
    recipe="resnet",
    colour_epochs=0,
    batch_size=256,
    weight_decay=0.0001,
    sgd="torch",
    schedule="steps",
    milestones=(30, 60),
)

MODERN = Preset(
    groups=1,
    norm="batch",
    dropout_scales="in training",
    initialisation="he",
    inputs="standard",
    recipe="resnet",
    colour_epochs=0,
    batch_size=1024,
    learning_rate=0.02,
    reference_batch=512,
    bias_decay=False,
    label_smoothing=0.1,
    sgd="torch",
    schedule="cosine",
    warm_up=5,
)

PRESETS = {
    "paper": PAPER,
    "original-2012": ORIGINAL_2012,
    "caffe": CAFFE,
    "torchvision": TORCHVISION,
    "modern": MODERN,
}


def num_parameters(preset: Preset, num_classes: int = 1000) -> int:
    """How many numbers the net learns."""
    with torch.device("meta"):
        net = AlexNet(num_classes=num_classes, **preset.architecture)
    return sum(parameter.numel() for parameter in net.parameters())


def table() -> str:
    """A Markdown table with a row for each field in which presets differ."""
    rows = [["field", *PRESETS], ["---"] * (1 + len(PRESETS))]
    rows.append(["parameters", *(f"{num_parameters(preset):,}" for preset in PRESETS.values())])
    for field in fields(Preset):
        values = [getattr(preset, field.name) for preset in PRESETS.values()]
        if len(set(values)) > 1:
            rows.append([f"`{field.name}`", *map(_text, values)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    print(table(), end="")
