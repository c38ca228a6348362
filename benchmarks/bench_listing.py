"""How long it takes to list a million images in each format that other packages write, beside Parquet.

    python -m benchmarks.bench_listing [--image-bytes 1000] [parquet arrow mds litdata tfrecord zip]

The files are made here, eight of each format (one zip archive), in the layouts that their packages write, and lie in
the page cache. Each repetition lists every format once, in turn.
"""

import json
import os
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from benchmarks.record import record
from imagefeed.pipeline.formats.tfrecord import masked_crc
from imagefeed.pipeline.sources.open_source import open_source

FILES = 8
CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    formats: tyro.conf.Positional[tuple[str, ...]] = ("parquet", "arrow", "mds", "litdata", "tfrecord", "zip")
    images: int = 1_000_000
    image_bytes: int = 1000
    """Bytes of an image: so few that all files fit into the page cache."""
    repeats: int = 5


def table_of(number: int, count: int, image: bytes) -> pa.Table:
    """What a file of Parquet or Arrow holds; images differ, so that no dictionary stands for them."""
    data = pa.array([b"%08d" % row + image[8:] for row in range(count)])
    paths = pa.array([f"{number}_{row:08d}.jpg" for row in range(count)])
    column = pa.StructArray.from_arrays([data, paths], ["bytes", "path"])
    return pa.table({"image": column, "label": pa.array(np.arange(count) % CLASSES)})


def parquet(folder: Path, count: int, image: bytes) -> None:
    """As `datasets` writes it: row groups of a thousand rows."""
    for number in range(FILES):
        pq.write_table(table_of(number, count, image), folder / f"train-{number:05d}.parquet", row_group_size=1000)


def arrow(folder: Path, count: int, image: bytes) -> None:
    """Batches of a thousand rows."""
    for number in range(FILES):
        table = table_of(number, count, image)
        with pa.ipc.new_stream(str(folder / f"data-{number:05d}.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)


def offsets(count: int, front: int, size: int) -> bytes:
    """The number of samples and the table of their offsets."""
    return struct.pack("<I", count) + (front + np.arange(count + 1) * size).astype("<u4").tobytes()


def samples(count: int, image: bytes, sized: bool) -> bytes:
    """Images and labels, the labels with sizes of their own or not."""
    kinds = [("image_size", "<u4"), *([("label_size", "<u4")] if sized else [])]
    made = np.zeros(count, [*kinds, ("image", f"V{len(image)}"), ("label", "<i8")])
    made["image_size"], made["label"] = len(image), np.arange(count) % CLASSES
    made["image"] = np.frombuffer(image, f"V{len(image)}")
    if sized:
        made["label_size"] = 8
    return made.tobytes()


def mds(folder: Path, count: int, image: bytes) -> None:
    """A column of JPEGs and one of integers."""
    columns = {
        "column_encodings": ["jpeg", "int"],
        "column_names": ["image", "label"],
        "column_sizes": [None, 8],
        "format": "mds",
    }
    config = json.dumps(columns).encode()
    shards = []
    for number in range(FILES):
        front = 4 * (count + 2) + len(config)
        data = offsets(count, front, len(image) + 12) + config + samples(count, image, sized=False)
        name = f"shard.{number:05d}.mds"
        (folder / name).write_bytes(data)
        raw = {"basename": name, "bytes": len(data)}
        shards.append({**columns, "raw_data": raw, "samples": count, "zip_data": None})
    (folder / "index.json").write_text(json.dumps({"version": 2, "shards": shards}))


def litdata(folder: Path, count: int, image: bytes) -> None:
    """A field of JPEGs and one of integers."""
    chunks = []
    for number in range(FILES):
        data = offsets(count, 4 * (count + 2), len(image) + 16) + samples(count, image, sized=True)
        name = f"chunk-0-{number}.bin"
        (folder / name).write_bytes(data)
        chunks.append({"chunk_bytes": len(data), "chunk_size": count, "filename": name})
    leaf: dict[str, object] = {"type": None, "context": None, "children_spec": []}
    spec = [1, {"type": "builtins.dict", "context": '["image", "label"]', "children_spec": [leaf, leaf]}]
    config = {"data_format": ["jpeg", "int"], "data_spec": json.dumps(spec), "item_loader": "PyTreeLoader"}
    (folder / "index.json").write_text(json.dumps({"chunks": chunks, "config": config}))


def part(number: int, data: bytes) -> bytes:
    """A part of a protocol buffer: tag, size, data."""
    size, found = len(data), bytearray([number << 3 | 2])
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size]) + data


def tfrecord(folder: Path, count: int, image: bytes) -> None:
    """Five features beside the image, as of ImageNet."""
    around = {"image/height": b"\xf4\x03", "image/width": b"\xf4\x03", "image/class/label": b""}
    records = []
    for label in range(CLASSES):
        around["image/class/label"] = bytes([label & 127 | 128, label >> 7])
        values = {name: part(3, part(1, value)) for name, value in around.items()}
        values |= {"image/colorspace": part(1, part(1, b"RGB")), "image/encoded": part(1, part(1, image))}
        features = [part(1, part(1, name.encode()) + part(2, value)) for name, value in values.items()]
        data = part(1, b"".join(features))
        length = struct.pack("<Q", len(data))
        crc = int(masked_crc(np.frombuffer(length, np.uint8)[None])[0])
        records.append(length + struct.pack("<I", crc) + data + bytes(4))
    for number in range(FILES):
        with open(folder / f"train-{number:05d}-of-{FILES:05d}", "wb") as file:
            for _ in range(count // CLASSES):
                file.write(b"".join(records))


def zip_archive(folder: Path, count: int, image: bytes) -> None:
    """Stored members in class folders."""
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number in range(count * FILES):
            archive.writestr(zipfile.ZipInfo(f"{number % CLASSES:04d}/{number:08d}.jpg"), image)


MAKERS: dict[str, Callable[[Path, int, bytes], None]] = {
    "parquet": parquet,
    "arrow": arrow,
    "mds": mds,
    "litdata": litdata,
    "tfrecord": tfrecord,
    "zip": zip_archive,
}


def main(config: BenchConfig) -> None:
    """Makes the files, then lists all of them again and again."""
    image = b"\xff\xd8" + bytes(config.image_bytes - 2)
    seconds: dict[str, list[float]] = {name: [] for name in config.formats}
    with tempfile.TemporaryDirectory() as scratch:
        for name in config.formats:
            Path(scratch, name).mkdir()
            MAKERS[name](Path(scratch, name), config.images // FILES, image)
        for repeat in range(config.repeats + 1):
            for name in config.formats:
                start = time.perf_counter()
                source = open_source(Path(scratch, name))
                if repeat:
                    seconds[name].append(time.perf_counter() - start)
                assert len(source.splits["train"]) == config.images
    for name, values in seconds.items():
        print(f"{name:10} {min(values):6.2f} {np.median(values):6.2f} {max(values):6.2f} s")
        load = os.getloadavg()[0]
        figures = {"images": config.images, "image_bytes": config.image_bytes, "seconds": values, "load": load}
        record("listing", name, figures)


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
