"""Part of a source: some of its classes, some of its images. What is left is a source like any other."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.sources.class_order import renumbered
from imagefeed.pipeline.sources.image_table import Source


def select(source: Source, classes: tuple[str, ...] = (), limit: int | None = None) -> Source:
    """`source` with `classes` alone (WordNet ids or folder names; all where empty), `limit` images a split at most.

    Labels number the classes that are left, ids the images that are left. Raises `ValueError` for an unknown class.
    """
    if classes:
        source = with_classes(source, classes)
    if limit is not None:
        source = replace(source, splits={name: evenly_spaced(table, limit) for name, table in source.splits.items()})
    return source


def with_classes(source: Source, names: tuple[str, ...]) -> Source:
    """`source` with these classes alone."""
    known = {each.wnid: label for label, each in enumerate(source.classes)}
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(
            f"{source.root} has no class {unknown[0]}: its {len(known)} classes are called such as "
            f"{', '.join(sorted(known)[:3])}"
        )
    kept = sorted({known[name] for name in names})
    chosen = renumbered(source, np.array(kept))
    for name, table in chosen.splits.items():
        if not len(table):
            raise ValueError(f"{source.root}: not one image of {name} is of these classes: {', '.join(names[:3])}")
    return chosen


def evenly_spaced(table: pa.Table, limit: int) -> pa.Table:
    """`limit` rows at even distances: of a table sorted by class, as near to the classes' shares as can be."""
    if limit >= len(table):
        return table
    return table.take(np.arange(limit) * len(table) // limit)
