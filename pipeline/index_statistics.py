"""One pass over all pixels of an index: with it, it has all that a split of our own has.

Moments, mean image, heights and widths, and the hash of every payload, which the loader then checks at every read.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import native
from pipeline.atomic import sync
from pipeline.codec import BadImage, load_rgb
from pipeline.dataset import Dataset, open_dataset, open_split
from pipeline.index import WITH_STATISTICS, index_of, publish
from pipeline.manifest import MANIFEST, MEAN_IMAGE, RAW, SAMPLES, SAMPLES_SCHEMA, Manifest, file_sha256
from pipeline.mapping import check_unchanged
from pipeline.moments import Moments, accumulate_pixels, statistics
from pipeline.progress import track
from pipeline.runners import Runner, run_here

CHUNK = 256  # images a task
MOST_NAMED = 5  # faults that a message names


def make_index(
    path: str | Path, *, with_statistics: bool = False, out: Path | None = None, run: Runner = run_here
) -> Dataset:
    """The index of the shards that `path` stands for (see `open_dataset`), or of an index, which need not be there yet.

    `with_statistics` decodes every image once; `out` is a folder for the index instead of the one below
    $IMAGEFEED_HOME. Raises `ValueError` where `path` is a split that was converted, or an image does not decode,
    `FileExistsError` where `out` holds something else.
    """
    dataset = open_dataset(path)
    if not dataset.manifest.is_index:
        raise ValueError(f"{path} is a split that imagefeed made: it has its table and its statistics")
    if with_statistics and not dataset.has_statistics:
        digest = dataset.manifest.digest
        folder = index_of([Path(shard.name) for shard in dataset.manifest.shards])
        dataset = open_split(folder, dataset.source)
        if dataset.manifest.digest != digest:
            raise ValueError(f"{path}: a shard was changed meanwhile; run again")
        if not dataset.has_statistics:
            finished = folder.with_name(folder.name + WITH_STATISTICS)
            publish(finished, partial(write_statistics, dataset=dataset, run=run))
            dataset = open_split(finished, dataset.source)
    if out is not None:
        out = out.absolute()
        publish(out, partial(copy_index, dataset=dataset))
        if Manifest.load(out) != dataset.manifest:
            raise FileExistsError(f"{out} already holds another split: choose another folder, or remove this one")
        dataset = open_split(out, dataset.source)
    return dataset


def copy_index(folder: Path, dataset: Dataset) -> None:
    """Writes the files of an index into `folder`, the manifest last."""
    for name in (*dataset.manifest.files, MANIFEST):
        (folder / name).write_bytes((dataset.path / name).read_bytes())
        sync(folder / name)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of the table, for a worker to look at."""

    start: int  # the first row
    samples: pa.Table  # the rows
    shards: dict[int, tuple[str, int, int | None]]  # those that they name: file, bytes, time of writing
    shape: tuple[int, ...]  # of the first image of all


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a worker saw in a chunk."""

    start: int
    moments: Moments
    pixel_sum: np.ndarray | None  # uint32 [H, W, 3]; None where an image is not of the shape that was expected
    found: np.ndarray  # (height, width, xxh3) [n]
    faults: list[str]


FOUND = np.dtype([("height", "i4"), ("width", "i4"), ("xxh3", "u8")])


def write_statistics(folder: Path, dataset: Dataset, run: Runner) -> None:
    """Looks at every image of `dataset`, an index, and writes the index with all that was found into `folder`."""
    found, faults = np.empty(len(dataset), FOUND), []
    moments, pixel_sum = Moments(), None
    uniform, num_seen = True, 0
    done = run(look, chunks_of(dataset))
    for seen in track_seen(done, len(dataset)):
        found[seen.start : seen.start + len(seen.found)] = seen.found
        faults += seen.faults
        moments += seen.moments
        num_seen += len(seen.found)
        uniform = uniform and seen.pixel_sum is not None
        if uniform and seen.pixel_sum is not None:
            pixel_sum = seen.pixel_sum + (np.zeros(seen.pixel_sum.shape, np.int64) if pixel_sum is None else pixel_sum)
    if faults:
        raise ValueError(
            f"{dataset.source or dataset.path}: {len(faults)} of {len(dataset)} images cannot be used, so there are no "
            "statistics: " + "; ".join(sorted(faults)[:MOST_NAMED])
        )
    if num_seen != len(dataset):
        raise RuntimeError(f"{folder}: {num_seen} images were looked at and not {len(dataset)}: run again")
    table = dataset.samples
    for name in found.dtype.names or ():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(found[name]))
    pq.write_table(table.cast(SAMPLES_SCHEMA), folder / SAMPLES)
    files = [SAMPLES]
    if uniform and pixel_sum is not None:
        np.save(folder / MEAN_IMAGE, pixel_sum / len(dataset))
        files.append(MEAN_IMAGE)
    for name in files:
        sync(folder / name)
    hashes = {name: file_sha256(folder / name) for name in files}
    replace(dataset.manifest, statistics=statistics(moments), files=hashes).save(folder)


def track_seen(done: Iterable[Seen], total: int) -> Iterator[Seen]:
    """Passes on what workers saw and shows how far they have come."""
    passed: list[Seen] = []

    def counts() -> Iterator[int]:
        for seen in done:
            passed.append(seen)
            yield len(seen.found)

    for _ in track(counts(), total, "statistics", "images"):
        yield passed.pop()


def chunks_of(dataset: Dataset) -> Iterator[Chunk]:
    """The table in chunks."""
    shards = [(shard.name, shard.num_bytes, shard.modified_ns) for shard in dataset.manifest.shards]
    numbers = dataset.columns.shard
    first = Chunk(start=0, samples=dataset.samples.slice(0, 1), shards={int(numbers[0]): shards[numbers[0]]}, shape=())
    shape = next(images_of(first))[1].shape
    for start in range(0, len(dataset), CHUNK):
        needed = np.unique(numbers[start : start + CHUNK]).tolist()
        yield Chunk(
            start=start,
            samples=dataset.samples.take(np.arange(start, min(start + CHUNK, len(dataset)))),  # a slice pickles whole
            shards={number: shards[number] for number in needed},
            shape=shape,
        )


def look(chunk: Chunk) -> Seen:
    """Decodes and hashes the images of a chunk. What does not decode is a fault; a shard that was changed raises."""
    moments, found, faults = Moments(), np.zeros(len(chunk.samples), FOUND), []
    pixel_sum: np.ndarray | None = np.zeros(chunk.shape, np.uint32) if len(chunk.shape) == 3 else None
    for place, (payload, image, fault) in enumerate(images_of(chunk)):
        if fault:
            faults.append(fault)
            continue
        found[place] = (*image.shape[:2], native.xxh3_64(np.frombuffer(payload, np.uint8)))
        moments.add(image)
        if image.shape != chunk.shape:
            pixel_sum = None
        elif pixel_sum is not None:
            accumulate_pixels(image, pixel_sum)
    return Seen(start=chunk.start, moments=moments, pixel_sum=pixel_sum, found=found, faults=faults)


def images_of(chunk: Chunk) -> Iterator[tuple[bytes, np.ndarray, str]]:
    """Payload, pixels (uint8 [H, W, 3]) and fault, if there is one, of each sample of a chunk."""
    opened = {}
    try:
        for number, (name, size, modified_ns) in chunk.shards.items():
            opened[number] = file = open(name, "rb", buffering=0)  # noqa: SIM115 - closed below
            check_unchanged(Path(name), os.fstat(file.fileno()), size, modified_ns)
        for row in chunk.samples.to_pylist():
            payload = os.pread(opened[row["shard"]].fileno(), row["size"], row["offset"])
            image, fault = np.empty((0, 0, 3), np.uint8), ""
            try:
                image = pixels_of(payload, row)
            except (BadImage, ValueError) as error:
                fault = f"{chunk.shards[row['shard']][0]}: sample {row['id']} ({row['key']}): {error}"
            yield payload, image, fault
    finally:
        for file in opened.values():
            file.close()


def pixels_of(payload: bytes, row: dict) -> np.ndarray:
    """One image, uint8 [H, W, 3]. Raises `BadImage` or `ValueError`, also where it is not of the size that is known."""
    height, width = row["height"], row["width"]
    if row["kind"] == RAW:
        return np.frombuffer(payload, np.uint8).reshape(height, width, 3)
    image = load_rgb(payload)
    if height and image.shape[:2] != (height, width):
        raise BadImage(f"it has {image.shape[0]}x{image.shape[1]} pixels, and {height}x{width} were announced")
    return image
