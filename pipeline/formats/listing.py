"""What a shard that others made turns out to hold, whatever its format: one row a sample, in the shard's order."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.formats.left_out import LeftOut

MOST_CLASSES = 1 << 20  # a label beyond this is taken for damage


class Unlabelled(ValueError):
    """Not one sample of a shard has a label."""


class Listing(NamedTuple):
    """The samples of one shard, n of them; the columns are those of `dataset.tables.SAMPLES_SCHEMA`."""

    key: pa.Array  # string [n]
    label: np.ndarray  # int64 [n]; an index into `classes` where the shard names them
    offset: np.ndarray  # int64 [n], bytes
    size: np.ndarray  # int64 [n], bytes
    height: np.ndarray  # int64 [n], pixels; 0 where nobody has looked
    width: np.ndarray  # int64 [n]
    kind: np.ndarray  # uint8 [n]
    classes: tuple[str, ...] | None  # the names of the shard's classes, sorted; None where labels are numbers
    words: Mapping[int, str] = MappingProxyType({})  # names of labels that are numbers, where the samples tell any
    left_out: LeftOut = LeftOut()  # what else the shard holds


def check_labels(labels: np.ndarray, name: str, keys: pa.Array) -> None:
    """Raises `ValueError` with the file and the sample where a label (int64 [n]) is no index of a class."""
    wrong = (labels < 0) | (labels >= MOST_CLASSES)
    if wrong.any():
        row = int(wrong.argmax())
        raise (Unlabelled if (labels == -1).all() else ValueError)(
            f"{name}: sample {keys[row]} has the label {labels[row]}: a label is 0 to {MOST_CLASSES - 1} "
            "(a test split without labels cannot be read)"
        )
