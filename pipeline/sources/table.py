"""One table for every kind of source: a row says which bytes of which file are an image, and its class."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.manifest import Class

SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # unique within the split, no dot in its last part, no suffix
        ("label", pa.int32()),
        ("file", pa.string()),  # relative to the source's root
        ("offset", pa.int64()),  # bytes
        ("size", pa.int64()),  # bytes
    ]
)


class Entry(NamedTuple):
    """One image as a kind of source lists it; the columns of `SCHEMA`."""

    key: str
    label: int
    file: str
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images, ready to be read: `splits` maps "train", "val" to tables of `SCHEMA`, sorted by key."""

    kind: str
    root: Path
    classes: tuple[Class, ...]
    splits: dict[str, pa.Table]

    def digest(self, split: str) -> str:
        """SHA-256 of all that names the images of a split, and of nothing that depends on where they lie."""
        table = self.splits[split]
        state = hashlib.sha256(repr((self.kind, split, self.classes)).encode())
        for name in ("key", "file"):
            state.update("\n".join(table[name].to_pylist()).encode("utf-8", "surrogateescape"))
        for name in ("label", "offset", "size"):
            state.update(table[name].to_numpy().astype("<i8").tobytes())
        return state.hexdigest()


def table_of(entries: Iterable[Entry], where: Path) -> pa.Table:
    """Entries in any order as one table sorted by key. Raises `ValueError` where there is none, or one twice."""
    columns = list(zip(*entries, strict=True))
    if not columns:
        raise ValueError(f"{where} holds not one image")
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
    table = table.take(pc.sort_indices(table, [("key", "ascending")]))
    keys = table["key"].to_numpy(zero_copy_only=False)
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if twice.size:
        files = table["file"].slice(twice[0], 2).to_pylist()
        raise ValueError(f"{where}: two images have the key {keys[twice[0]]}: {files[0]} and {files[1]}; rename one")
    return table


def read_range(root: Path, file: str, offset: int, size: int) -> bytes:
    """The bytes of one image. Raises `ValueError` where the file has become shorter than it was when listed."""
    with open(root / file, "rb", buffering=0) as source:
        source.seek(offset)
        data = source.read(size)
    if len(data) != size:
        raise ValueError(
            f"{root / file} ends within the image at byte {offset}: it has changed since it was listed; run again"
        )
    return data
