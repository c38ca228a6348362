"""report.json: all that an evaluation found, every number of its page. Written and read through these classes alone.

    report = read_report(folder / "report.json")
    report.protocols[report.headline].top1.error

docs/report.schema.json says the same for other languages; `python -m imagefeed.jobs.report.json_schema` writes it.
Another layout is another `VERSION`. Shares and errors are fractions, 0 to 1; labels are places in `classes`.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.dataset.type_check import from_json

VERSION = 1  # of report.json and compare.json
REPORT = "report.json"
T = TypeVar("T")

Protocol = Literal["centre", "ten-crop", "dense"]


def headline(protocols: Collection[str]) -> str:
    """The protocol, one of at least one, whose errors stand at the top: the paper's ten crops where they are there."""
    return "ten-crop" if "ten-crop" in protocols else next(iter(protocols))


@dataclass(frozen=True, kw_only=True)
class Input:
    """What the nets were shown: crops of `crop_size` pixels, less which mean, and whether divided by a deviation."""

    crop_size: int
    mean: Literal["window", "centre", "channel"]
    normalize: bool


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """A share of wrong guesses."""

    error: float


@dataclass(frozen=True, kw_only=True)
class Chance:
    """What guessing gives."""

    top1: ErrorRate
    top5: ErrorRate


@dataclass(frozen=True, kw_only=True)
class MeasuredError:
    """How many of `total` samples were wrong, that share, and its 95 % interval (Wilson's)."""

    wrong: int
    total: int
    error: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """By label: samples of a class, and how many of them are wrong in the top-1 and top-5."""

    total: tuple[int, ...]
    wrong_top1: tuple[int, ...]
    wrong_top5: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PropertyBin:
    """Samples with a property from `low` to `high`, its mean over them, and their top-1 error with 95 % interval."""

    low: float
    high: float
    mean: float
    wrong: int
    total: int
    error: float
    error_low: float
    error_high: float


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Samples whose top-1 probability p is low < p <= high: their mean p, and the share of them that is right."""

    low: float
    high: float
    total: int
    probability: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far the top-1 probability can be trusted: the expected calibration error, and the bins that hold samples."""

    ece: float
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How many samples of one class were taken for another."""

    label: int
    predicted: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A sample whose top-1 is wrong: the probability of the class it was taken for, and of its own."""

    id: int
    key: str
    label: int
    predicted: int
    probability: float
    true_probability: float


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """`surest`: the wrong class most probable first; `hardest`: the true class least probable first."""

    surest: tuple[Mistake, ...]
    hardest: tuple[Mistake, ...]


@dataclass(frozen=True, kw_only=True)
class ProtocolResult:
    """One net by one protocol; net 0 is the evaluation's answer, the only net or the ensemble of all."""

    protocol: Protocol
    net: int
    description: str
    top1: MeasuredError
    top5: MeasuredError
    per_class: ClassCounts
    by_property: dict[str, tuple[PropertyBin, ...]]  # bytes, pixels, brightness
    calibration: Calibration
    confusions: tuple[Confusion, ...]
    mistakes: Mistakes


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """A checkpoint without its weights and without the paths of where it was made."""

    sha256: str
    epoch: int
    step: int
    num_parameters: int
    model_config: dict[str, Any]  # the keyword arguments of AlexNet
    train_config: dict[str, Any]  # the options of jobs/train.py
    world_size: int
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """McNemar's exact test on top-1 between two entries of `protocols`: samples that one alone has right, and p."""

    first: str
    second: str
    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True, kw_only=True)
class LabelProbability:
    """A class and the probability that a net gives it."""

    label: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Example:
    """A sample with its likeliest classes, by the headline's protocol."""

    id: int
    key: str
    label: int
    top: tuple[LabelProbability, ...]


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """How many images are stored with this size, pixels; 0: the table does not know."""

    height: int
    width: int
    total: int


@dataclass(frozen=True, kw_only=True)
class HistogramBin:
    """Stored files of so many bytes: from `low` to below `high`, in the last bin to `high`."""

    low: float
    high: float
    total: int
    share: float


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """Counts and sizes of one split; `sizes` has the most frequent, `num_sizes` counts all."""

    num_samples: int
    num_quarantined: int
    format: str
    num_shards: int
    shard_bytes: int
    image_bytes: int
    images_a_class: tuple[int, ...]
    sizes: tuple[ImageSize, ...]
    num_sizes: int
    histogram: tuple[HistogramBin, ...]


@dataclass(frozen=True, kw_only=True)
class PixelStatistics:
    """Of R, G and B over all pixels, grey levels: mean, deviation, and the components of the covariance; row i,
    column j of `eigenvectors` is channel i of component j."""

    num_pixels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    eigenvalues: tuple[float, ...]
    eigenvectors: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Data:
    """The split that the nets were judged on and the training split: their digests, facts, and the pixels of the
    latter where somebody has taken their statistics."""

    digest: str
    train_digest: str
    splits: dict[str, SplitFacts]
    pixels: PixelStatistics | None


@dataclass(frozen=True, kw_only=True)
class TrainPoint:
    """The mean of some records of metrics.jsonl, in their middle; None for figures that they lack."""

    step: float
    loss_low: float  # the least and the greatest loss among them
    loss_high: float
    loss: float
    top1_error: float | None
    top5_error: float | None
    lr: float | None
    images_per_second: float | None
    waiting: float | None  # share of the time
    epoch: float


@dataclass(frozen=True, kw_only=True)
class ValPoint:
    """One validation during the training."""

    epoch: int
    step: int
    loss: float
    top1_error: float
    top5_error: float


@dataclass(frozen=True, kw_only=True)
class Curves:
    """How a run went; both empty before its first validation."""

    train: tuple[TrainPoint, ...]
    val: tuple[ValPoint, ...]


@dataclass(frozen=True, kw_only=True)
class DenseCrops:
    """Which dense crops: sides of the scaled image, pixels, and places along a side."""

    sides: tuple[int, ...]
    grid: int


@dataclass(frozen=True, kw_only=True)
class NearImage:
    """A training image, and how far its features are from the query's (Euclidean)."""

    id: int
    key: str
    label: int
    distance: float


@dataclass(frozen=True, kw_only=True)
class Query:
    """A sample with the training images nearest to it, the nearest first."""

    id: int
    key: str
    label: int
    nearest: tuple[NearImage, ...]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest among all training images."""

    num_searched: int
    queries: tuple[Query, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of report.json."""

    version: int = VERSION
    split: str
    num_samples: int
    num_quarantined: int
    num_classes: int
    classes: tuple[Class, ...]
    input: Input
    chance: Chance
    protocols: dict[str, ProtocolResult]  # by `predictions.entry_name`
    checkpoints: tuple[CheckpointFacts, ...]
    comparisons: tuple[PairTest, ...]
    examples: tuple[Example, ...]
    data: Data
    training: dict[str, Curves]  # by the net that is first of its run: "net 1"
    dense: DenseCrops | None
    neighbours: Neighbours | None
    predictions_sha256: str
    command: str
    device: str
    versions: dict[str, str]

    @property
    def headline(self) -> str:
        """The protocol whose errors stand at the top."""
        return headline(self.protocols)


def to_text(content: Any) -> str:
    """A dataclass of numbers, text and further ones as JSON: the same content gives the same characters.

    Raises `ValueError` where a number is not finite.
    """
    return json.dumps(asdict(content), indent=1, allow_nan=False) + "\n"


def from_text(text: str | bytes, kind: type[T], name: str, cure: str) -> T:
    """The dataclass `kind` from what `to_text` wrote into the file `name`.

    Raises `ValueError` that names the file, the field and the `cure` where it is of another version, where a field is
    missing, unknown or of another type, and where it is no JSON. A file without a version has the layout of the first.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("it is no object")
        content = {"version": 1} | content
        if content["version"] != VERSION:
            raise TypeError(f"version cannot be {str(content['version'])[:40]!r}, only {VERSION} is known")
        made: T = from_json(content, kind)
        return made
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} cannot be read ({error}): {cure}") from error


def read_report(path: Path) -> Report:
    """The report in the file `path`. Raises `FileNotFoundError`, and `ValueError` as `from_text`."""
    return from_text(path.read_bytes(), Report, str(path), "evaluate again")
