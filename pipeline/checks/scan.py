"""Every image of a dataset read, hashed and decoded once, by as many workers as there are: what it turns out to hold.

It is for a split of our own and for an index of somebody else's shards alike, on this machine's disks.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums
from imagefeed.pipeline.files.mapped_file import check_unchanged
from imagefeed.pipeline.image.jpeg.codec import JpegCodec
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.image.stored import JPEG, MOST_PIXELS, RAW
from imagefeed.pipeline.image.turbojpeg import NOT_RGB
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.runtime.executors import Executor, run_here
from imagefeed.pipeline.runtime.progress import track

CHUNK = 256  # images a task
FOUND = np.dtype([("height", "i4"), ("width", "i4"), ("xxh3", "u8")])


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of the table, for a worker to look at."""

    start: int  # the first row
    samples: pa.Table  # the rows
    shards: dict[int, tuple[str, int, int | None]]  # those that they name: file, bytes, time of writing


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a worker saw in a chunk."""

    start: int
    moments: Moments
    pixel_sums: PixelSums
    found: np.ndarray  # FOUND [n]
    faults: dict[int, str]  # by row


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
    found, faults = np.zeros(len(dataset), FOUND), {}
    moments, pixel_sums = Moments(), PixelSums()
    passed: list[Seen] = []

    def counts() -> Iterator[int]:
        for seen in run(look, chunks_of(dataset)):
            passed.append(seen)
            yield len(seen.found)

    for num_seen in track(counts(), len(dataset), what, "images"):
        seen = passed.pop()
        found[seen.start : seen.start + num_seen] = seen.found
        moments += seen.moments
        pixel_sums += seen.pixel_sums
        faults.update(seen.faults)
    return ScanResult(
        moments=moments, pixel_sums=pixel_sums, found=found, faults=[faults[row] for row in sorted(faults)]
    )


def chunks_of(dataset: Split) -> Iterator[Chunk]:
    """The table in chunks."""
    for start in range(0, len(dataset), CHUNK):
        yield chunk_of(dataset, np.arange(start, min(start + CHUNK, len(dataset))))


def chunk_of(dataset: Split, rows: np.ndarray) -> Chunk:
    """Some rows (int64 [n]) as a chunk, which begins at the first of them."""
    shards = {}
    for number in np.unique(dataset.columns.shard[rows]).tolist():
        shard = dataset.manifest.shards[number]
        shards[number] = str(dataset.path / shard.name), shard.num_bytes, shard.modified_ns
    return Chunk(start=int(rows[0]), samples=dataset.samples.take(rows), shards=shards)  # a slice would pickle whole


def payloads_of_rows(dataset: Split, rows: np.ndarray) -> Iterator[tuple[bytes, dict]]:
    """`payloads_of` for some rows (int64 [n]) of a dataset that is here."""
    if dataset.remote is not None:
        raise ValueError(f"{dataset.source} is elsewhere: copy it here first")
    return payloads_of(chunk_of(dataset, rows))


def look(chunk: Chunk) -> Seen:
    """Decodes and hashes the images of a chunk."""
    moments, pixel_sums, found, faults = Moments(), PixelSums(), np.zeros(len(chunk.samples), FOUND), {}
    jpeg = JpegCodec()
    for place, (payload, row) in enumerate(payloads_of(chunk)):
        try:
            digest = xxh3_64(np.frombuffer(payload, np.uint8))
            if row["xxh3"] not in (0, digest):
                raise BadImage("its bytes are not those that were written")
            image = pixels_of(payload, row, jpeg)
        except BadImage as error:
            faults[chunk.start + place] = f"{chunk.shards[row['shard']][0]}: sample {row['id']} ({row['key']}): {error}"
            continue
        found[place] = (*image.shape[:2], digest)
        moments.add(image)
        pixel_sums.add(image)
    return Seen(start=chunk.start, moments=moments, pixel_sums=pixel_sums, found=found, faults=faults)


def payloads_of(chunk: Chunk) -> Iterator[tuple[bytes, dict]]:
    """Payload and row of each sample of a chunk. Raises `ValueError` where a shard was changed."""
    opened = {}
    try:
        for number, (name, size, modified_ns) in chunk.shards.items():
            opened[number] = file = open(name, "rb", buffering=0)  # noqa: SIM115 - closed below
            check_unchanged(Path(name), os.fstat(file.fileno()), size, modified_ns)
        for row in chunk.samples.to_pylist():
            yield os.pread(opened[row["shard"]].fileno(), row["size"], row["offset"]), row
    finally:
        for file in opened.values():
            file.close()


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
