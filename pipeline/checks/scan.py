"""Every image of a dataset read, hashed and decoded once, by as many workers as there are: what it turns out to hold.

It is for a split of our own and for an index of somebody else's shards alike, on this machine's disks.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.checks.chunks import Reader, measure_table
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums
from imagefeed.pipeline.files.mapped_file import check_unchanged
from imagefeed.pipeline.files.open_files import OpenFiles
from imagefeed.pipeline.files.ranged import pread
from imagefeed.pipeline.image.jpeg.codec import JpegCodec
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.image.stored import JPEG, MOST_PIXELS, RAW
from imagefeed.pipeline.image.turbojpeg import NOT_RGB
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.runtime.executors import Executor, run_here

FOUND = np.dtype([("height", "i4"), ("width", "i4"), ("xxh3", "u8")])


@dataclass(frozen=True, kw_only=True)
class ScanResult:
    """What all of a dataset's images turned out to be, n of them."""

    moments: Moments
    pixel_sums: PixelSums
    found: np.ndarray  # FOUND [n]: a row of the table each, zeros where the image cannot be used
    faults: list[str]  # each with the shard and the sample, in the order of the table


def scan(dataset: Split, what: str, run: Executor = run_here) -> ScanResult:
    """Looks at every image of `dataset`; `what` names that in the progress that is shown.

    A sample is at fault where its bytes are not those that the table has the hash of, do not decode as the loader
    would, or have another size. Raises `ValueError` where the dataset is elsewhere, or a shard was changed meanwhile.
    """
    if dataset.remote is not None:
        raise ValueError(f"{dataset.source} is elsewhere: copy it here first, every byte of it is read")
    seen = measure_table(dataset.samples, partial(reader_of, dataset), PixelMeasure, FOUND, what, run)
    return ScanResult(
        moments=seen.total.moments,
        pixel_sums=seen.total.pixel_sums,
        found=seen.found,
        faults=[f"{dataset.name(row)}: {reason}" for row, reason in seen.faults.items()],
    )


class PixelTotal(NamedTuple):
    """Sums over the pixels of images."""

    moments: Moments
    pixel_sums: PixelSums

    def __add__(self, other: "PixelTotal") -> "PixelTotal":  # type: ignore[override]
        return PixelTotal(self.moments + other.moments, self.pixel_sums + other.pixel_sums)


class PixelMeasure:
    """Hashes and decodes samples as the loader gets them, and sums up their pixels."""

    def __init__(self) -> None:
        self._jpeg, self._moments, self._pixel_sums = JpegCodec(), Moments(), PixelSums()

    def __call__(self, data: bytes, row: dict, found: np.void) -> None:
        digest = xxh3_64(np.frombuffer(data, np.uint8))
        if row["xxh3"] not in (0, digest):
            raise BadImage("its bytes are not those that were written")
        image = pixels_of(data, row, self._jpeg)
        found["height"], found["width"], found["xxh3"] = *image.shape[:2], digest
        self._moments.add(image)
        self._pixel_sums.add(image)

    def total(self) -> PixelTotal:
        return PixelTotal(self._moments, self._pixel_sums)


class ShardFile(NamedTuple):
    """A shard as the manifest knows it: bytes, and where it is somebody else's its time of writing, ns since 1970."""

    path: Path
    num_bytes: int
    modified_ns: int | None


def reader_of(dataset: Split, rows: pa.Table) -> Reader:
    """What reads the payloads of `rows` of the table of `dataset`, in a worker too."""
    shards = {}
    for number in pc.unique(rows["shard"]).to_pylist():
        shard = dataset.manifest.shards[number]
        shards[number] = ShardFile(dataset.path / shard.name, shard.num_bytes, shard.modified_ns)
    return partial(read_payloads, shards)


def read_payloads(shards: dict[int, ShardFile], rows: pa.Table) -> Iterator[bytes]:
    """The payloads of `rows`, in order, from `shards` by their number. `ValueError` where a shard was changed."""
    known = {str(shard.path): shard for shard in shards.values()}

    def check(path: str, descriptor: int) -> None:
        check_unchanged(Path(path), os.fstat(descriptor), known[path].num_bytes, known[path].modified_ns)

    with OpenFiles(check) as files:
        for row in rows.select(["shard", "offset", "size"]).to_pylist():
            yield pread(files.descriptor(str(shards[row["shard"]].path)), row["size"], row["offset"])


def payloads_of_rows(dataset: Split, rows: np.ndarray) -> Iterator[tuple[bytes, dict]]:
    """Payload and row of the table for some rows (int64 [n]) of a dataset that is here.

    Raises `ValueError` where it is elsewhere, or a shard was changed.
    """
    if dataset.remote is not None:
        raise ValueError(f"{dataset.source} is elsewhere: copy it here first")
    samples = dataset.samples.take(rows)
    return zip(reader_of(dataset, samples)(samples), samples.to_pylist(), strict=True)


def pixels_of(payload: bytes, row: dict, jpeg: JpegCodec) -> np.ndarray:
    """One image as the loader gets it, uint8 [H, W, 3], perhaps in memory of `jpeg` until it decodes the next one.

    Raises `BadImage`, also where it is not of the size that is known.
    """
    height, width = row["height"], row["width"]
    if row["kind"] == RAW:
        return np.frombuffer(payload, np.uint8).reshape(height, width, 3)
    image = None
    if row["kind"] == JPEG and jpeg.size(payload)[0] != NOT_RGB:
        image = jpeg.decode(payload, MOST_PIXELS)
        if image is None:
            load_rgb(payload)  # raises with the reason, if Pillow sees one too
            raise BadImage("it is no JPEG that decodes without a guess")
    if image is None:
        image = load_rgb(payload)
    if height and image.shape[:2] != (height, width):
        raise BadImage(f"it has {image.shape[0]}x{image.shape[1]} pixels, and {height}x{width} were announced")
    return image
