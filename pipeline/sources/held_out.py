"""A validation split for a source that has none: of each class a share of its training images, by a hash of their keys.

Which images they are depends on nothing but the keys of their class and the share: not on the order of a listing, on
other classes, on where the files lie or on the machine.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.sources.image_table import Source


def with_val(source: Source, fraction: float) -> Source:
    """`source` with a split val of about `fraction` of each class of its train, which keeps the others.

    Raises `ValueError` where it has no train, or has a val, and where no class is large enough.
    """
    if "val" in source.splits:
        raise ValueError(
            f"{source.root} has a split val of its own: leave out --val-fraction, or take --splits train alone"
        )
    if "train" not in source.splits:
        raise ValueError(f"{source.root} has no split train to take --val-fraction of")
    table = source.splits["train"]
    held = held_out(table["key"].to_pylist(), table["label"].to_numpy(), fraction)
    if not held.any():
        raise ValueError(f"{source.root}: no class has so many images that {fraction:g} of them were one: take more")
    train, val = (table.filter(pa.array(part)).combine_chunks() for part in (~held, held))
    others = {name: each for name, each in source.splits.items() if name != "train"}
    note = f"val: {fraction:g} of the images of each class of train, chosen by a hash of their keys"
    return replace(source, splits={"train": train, "val": val, **others}, notes=(*source.notes, note))


def held_out(keys: Sequence[str], labels: np.ndarray, fraction: float) -> np.ndarray:
    """Which of n images are held out, bool [n], by their keys and `labels` (integers [n]).

    Of a class of m images it is `fraction` * m, rounded, but never all: those whose keys have the least hashes.
    """
    hashes = np.array([key_hash(key) for key in keys], np.uint64)
    counts = np.bincount(labels)
    order = np.lexsort((hashes, labels))
    rank = np.empty(len(labels), np.int64)  # of an image in its class, by the hash
    rank[order] = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    wanted = np.minimum(np.floor(fraction * counts + 0.5), counts - 1)
    return np.asarray(rank < wanted[labels])


def key_hash(key: str) -> int:
    """64 bits of a key; file names that are no text have them too."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")
