"""By which rule classes are numbered, and the two orders in which names may be."""

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.classes import CLASSES
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.sources.image_table import BY_NAME, Source

ClassOrder = Literal["alphabetical", "natural"]

NATURAL = "natural order of the names"
BY_KIT = "sorted WordNet ids of the development kit"
BY_FILE = f"lines of {CLASSES}"
BY_DATASET = "those of the dataset"


def natural_key(each: Class) -> tuple[list[str | int], str]:
    """Sorts classes by name with the numbers in it as numbers: 1, 2, 10."""
    parts: list[str | int] = list(re.split(r"([0-9]+)", each.wnid))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, each.wnid


def in_order(source: Source, order: ClassOrder) -> Source:
    """`source` with its classes numbered in `order`.

    Raises `ValueError` for another order than the alphabet's where the names of the classes do not number them.
    """
    if order == "alphabetical":
        return source
    if source.rule != BY_NAME:
        raise ValueError(f"{source.root}: its labels are numbered by a rule already ({source.rule}): leave out --order")
    order_of = sorted(range(len(source.classes)), key=lambda label: natural_key(source.classes[label]))
    return replace(renumbered(source, np.array(order_of)), rule=NATURAL)


def class_order(source: Source) -> Literal["", "natural"]:
    """What a manifest says of the order of the classes."""
    by_name = tuple(sorted(source.classes, key=lambda each: each.wnid))
    return "natural" if source.rule == NATURAL and source.classes != by_name else ""


def renumbered(source: Source, kept: np.ndarray) -> Source:
    """`source` with the classes `kept` (int64 [n], labels of now) alone, numbered in that order."""
    new_label = np.full(len(source.classes), -1, np.int32)
    new_label[kept] = np.arange(len(kept))
    splits = {}
    for name, table in source.splits.items():
        labels = new_label[table["label"].to_numpy()]
        column = table.schema.get_field_index("label")
        numbered = table.set_column(column, table.schema.field(column), pa.array(labels))
        splits[name] = numbered.filter(pa.array(labels >= 0))
    return replace(source, classes=tuple(source.classes[label] for label in kept), splits=splits)
