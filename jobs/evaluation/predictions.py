"""What a checkpoint says about a split: the scores of slices, put together exactly once, and the errors they
give.

The protocols are the paper's. The ten crops of section 4.1 are the four corners and the centre, then their
mirrors, and the prediction is the mean of the ten softmax outputs; the centre crop is the fifth of them on
its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import ceil, sqrt

import numpy as np
import pyarrow as pa

from imagefeed.jobs.report.schema import Protocol

DESCRIPTION: dict[Protocol, str] = {
    "centre": "the centre of the image, not mirrored; its softmax output",
    "ten-crop": "the four corners and the centre, and the mirror image of each; the mean of the ten softmax outputs",
    "dense": "at each scale of the whole image a grid of crops, and the mirror image of each; the mean of all softmax "
    "outputs",
}
TOP = 5


def entry_name(protocol: Protocol, net: int = 0) -> str:
    """What one net's predictions by a protocol are called: `net2-ten-crop` for the second of several.

    Net 0 is the evaluation's answer, the only net or the ensemble of all: plainly `ten-crop`.
    """
    return f"net{net}-{protocol}" if net else protocol


@dataclass(frozen=True)
class Scores:
    """The predictions for n samples, of one net by one protocol.

    Classes are ranked by probability, equal ones by index, so that the order is never an accident.
    """

    top_classes: np.ndarray  # int32 [n, k], k = min(5, classes), the likeliest first
    top_probabilities: np.ndarray  # float32 [n, k]
    true_probability: np.ndarray  # float32 [n], of the sample's label
    true_rank: np.ndarray  # int32 [n], of the label among all classes, 1 = the likeliest


SCORE_FIELDS = tuple(each.name for each in fields(Scores))


@dataclass(frozen=True)
class Part:
    """The scores of some of a split's samples, as an actor hands them back."""

    sample_ids: np.ndarray  # int64 [n]
    labels: np.ndarray  # int64 [n]
    scores: dict[str, Scores]  # by `entry_name`
    more: Mapping[str, np.ndarray] = field(default_factory=dict)  # further columns [n] or [n, k]: brightness, ...


@dataclass(frozen=True)
class Errors:
    """How many of `total` samples were wrong, with the 95 % interval of the share (Wilson's)."""

    wrong: int
    total: int

    @property
    def error(self) -> float:
        """The share of wrong samples, 0 to 1."""
        return self.wrong / self.total

    def interval(self, z: float = 1.959963984540054) -> tuple[float, float]:
        """Wilson's score interval, which stays inside 0..1 and holds for rare errors too."""
        n, p = self.total, self.error
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return centre - half if self.wrong else 0.0, centre + half if self.wrong < n else 1.0


def num_slices(num_samples: int, batch_size: int) -> int:
    """How many slices a split is scored in: a function of the work alone, never of the actors.

    A slice is up to eight batches, so that a lost one costs little, but there are 16 where the batches
    suffice, so that many actors find work. Which samples share a batch, and with it every last bit, follows
    from this.
    """
    num_batches = ceil(num_samples / batch_size)
    return ceil(num_batches / min(8, max(1, num_batches // 16)))


def rank_classes(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores from `probabilities` (float32 [n, classes]) and true `labels` (int64 [n])."""
    rows = np.arange(len(labels))
    order = np.argsort(-probabilities, axis=1, kind="stable")
    top = order[:, :TOP]
    return Scores(
        top_classes=top.astype(np.int32),
        top_probabilities=np.take_along_axis(probabilities, top, axis=1),
        true_probability=probabilities[rows, labels],
        true_rank=(np.argmax(order == labels[:, None], axis=1) + 1).astype(np.int32),
    )


def concatenated(parts: Sequence[Part]) -> Part:
    """Several parts, at least one, as one, in their order."""

    def scores_of(entry: str) -> Scores:
        return Scores(
            **{name: np.concatenate([getattr(part.scores[entry], name) for part in parts]) for name in SCORE_FIELDS}
        )

    return Part(
        sample_ids=np.concatenate([part.sample_ids for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        scores={entry: scores_of(entry) for entry in parts[0].scores},
        more={name: np.concatenate([part.more[name] for part in parts]) for name in parts[0].more},
    )


def joined(parts: Sequence[Part], samples: pa.Table) -> pa.Table:
    """`predictions.parquet`: a row a sample, by id: id, key, label, what more is told of it, then the fields of each
    entry's `Scores`.

    `samples` is the split's own table. Raises `ValueError` unless the parts hold each of its samples exactly
    once, under its label.
    """
    whole = concatenated(parts)
    samples = samples.sort_by("id").select(["id", "key", "label"])
    expected = samples["id"].to_numpy()
    found, times = np.unique(whole.sample_ids, return_counts=True)
    problems = {
        "were not scored": np.setdiff1d(expected, found),
        "were scored more than once": found[times > 1],
        "are not in the split": np.setdiff1d(found, expected),
    }
    complaints = [f"{len(ids)} {what} (ids {some(ids)})" for what, ids in problems.items() if len(ids)]
    if complaints:
        raise ValueError(f"of {len(expected)} samples {'; '.join(complaints)}: nothing is written, evaluate again")
    order = np.argsort(whole.sample_ids)
    if not np.array_equal(whole.labels[order], samples["label"].to_numpy()):
        raise ValueError("the labels that came with the images differ from the split's table: convert the source again")
    columns = dict(whole.more) | {
        column(entry, name): getattr(scores, name) for entry, scores in whole.scores.items() for name in SCORE_FIELDS
    }
    table = samples
    for name, values in columns.items():
        array = pa.array(values[order].reshape(-1))
        if values.ndim == 2:
            array = pa.FixedSizeListArray.from_arrays(array, values.shape[1])
        table = table.append_column(name, array)
    return table


def some(ids: np.ndarray, limit: int = 5) -> str:
    """The first few ids, as text."""
    return ", ".join(map(str, ids[:limit])) + (", ..." if len(ids) > limit else "")


def column(entry: str, name: str) -> str:
    """The column of `predictions.parquet` that holds a field of an entry's `Scores`: `ten_crop_true_rank`."""
    return f"{entry.replace('-', '_')}_{name}"


def errors(predictions: pa.Table, entry: str, top: int) -> Errors:
    """How many samples have their label outside the `top` likeliest classes."""
    ranks = predictions[column(entry, "true_rank")].to_numpy()
    return Errors(wrong=int((ranks > top).sum()), total=len(ranks))
