"""What a shard that others made turns out to hold, whatever its format: one row a sample, in the shard's order."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

MOST_CLASSES = 1 << 20  # a label beyond this is taken for damage


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


def check_labels(labels: np.ndarray, name: str, keys: pa.Array) -> None:
    """Raises `ValueError` with the file and the sample where a label (int64 [n]) is no index of a class."""
    wrong = (labels < 0) | (labels >= MOST_CLASSES)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name}: sample {keys[row]} has the label {labels[row]}: a label is 0 to {MOST_CLASSES - 1} "
            "(a test split without labels cannot be read)"
        )
