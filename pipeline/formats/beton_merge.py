"""Several betons made one, for stock FFCV, which opens one file: pages are copied as they are, nothing is encoded.

A beton's payloads lie in pages that begin at multiples of the page size. So they can be moved as a whole: each pointer
gets the distance that its file's pages were moved by, and metadata and allocation tables are put one after the other.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imagefeed.pipeline.files.atomic import atomic
from imagefeed.pipeline.formats.beton import ALLOCATION, FIELD, HEADER, METADATA, STORED, VERSION, list_samples

COPIED = 1 << 24  # bytes at once


def merge(betons: Sequence[Path], out: Path) -> int:
    """Writes the samples of `betons`, in this order, to the file `out`; returns how many there are.

    Raises `ValueError` with the file where one is damaged, or has other fields or pages than the first;
    `FileExistsError` where `out` is there already.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already: choose another name, or remove it")
    if not betons:
        raise ValueError("no beton to merge")
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [Part(path) for path in betons]
    for part in parts:
        if (part.page_size, part.fields.tobytes()) != (parts[0].page_size, parts[0].fields.tobytes()):
            raise ValueError(
                f"{part.path} has other fields or another page size than {parts[0].path}: merge them apart"
            )
    page_size, count = parts[0].page_size, sum(part.count for part in parts)
    front = HEADER.itemsize + parts[0].fields.nbytes + sum(part.samples.nbytes for part in parts)
    position, before, allocations = front + -front % page_size, 0, []
    with atomic(out) as path, open(path, "wb") as file:
        file.seek(position)
        for part in parts:
            part.move(position - part.first_page, before)
            with open(part.path, "rb") as source:
                source.seek(part.first_page)
                copy(source, file, part.end - part.first_page, part.path)
            allocations.append(part.allocations)
            position, before = position + part.end - part.first_page, before + part.count
        for table in allocations:
            file.write(table.tobytes())
        file.seek(0)
        file.write(np.array((VERSION, len(parts[0].fields), page_size, count, position), HEADER).tobytes())
        file.write(parts[0].fields.tobytes())
        for part in parts:
            file.write(part.samples.tobytes())
    return count


class Part:
    """One of the betons: its tables, and where its pages lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            size = path.stat().st_size
            list_samples(file.fileno(), size, str(path))  # proves every number, or raises
            header = read(file, HEADER, 1)[0]
            self.page_size, self.count, self.end = (
                int(header[name]) for name in ("page_size", "num_samples", "allocations_at")
            )
            self.fields = read(file, FIELD, int(header["num_fields"]))
            self.types = self.fields["type_id"].tolist()
            row = np.dtype([(f"f{i}", METADATA[type_id]) for i, type_id in enumerate(self.types)], align=True)
            self.samples = read(file, row, self.count)
            front = file.tell()
            self.first_page = front + -front % self.page_size
            file.seek(self.end)
            self.allocations = read(file, ALLOCATION, (size - self.end) // ALLOCATION.itemsize)

    def move(self, distance: int, before: int) -> None:
        """Moves all pointers by `distance` bytes and all sample numbers by `before`."""
        for i, type_id in enumerate(self.types):
            if type_id in STORED:
                field = self.samples[f"f{i}"]
                (field["pointer"] if field.dtype.names else field)[:] += np.int64(distance).astype(np.uint64)
        self.allocations["pointer"] += np.int64(distance).astype(np.uint64)
        self.allocations["sample"] += np.uint64(before)


def read(file: BinaryIO, kind: np.dtype, count: int) -> np.ndarray:
    """`count` records from where the file stands, which may be altered."""
    return np.frombuffer(bytearray(file.read(count * kind.itemsize)), kind)


def copy(source: BinaryIO, target: BinaryIO, count: int, path: Path) -> None:
    """Copies `count` bytes. Raises `ValueError` where there are not so many."""
    while count:
        data = source.read(min(COPIED, count))
        if not data:
            raise ValueError(f"{path} became shorter meanwhile: run again")
        target.write(data)
        count -= len(data)
