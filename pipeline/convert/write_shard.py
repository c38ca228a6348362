"""Makes one shard, in one pass over its images: read, prepare (see `transcoder.py`), count, hash, write.

`write_shard` is a function of its task alone. Where it runs, a loop, a process or a machine of a cluster, is
somebody else's choice, and any of them writes the same bytes.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.convert.shard_record import ShardRecord, is_done, save_record
from imagefeed.pipeline.dataset.manifest import Shard
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums
from imagefeed.pipeline.dataset.tables import QUARANTINE_SCHEMA, SAMPLES_SCHEMA
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.output_folder import OutputFolder
from imagefeed.pipeline.formats.containers import Format, shard_writer
from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.image.stored import Storage
from imagefeed.pipeline.image.transcoder import Transcoder
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.sources.reader import read_each, read_rows


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """All that a worker needs to make one shard, in each format that is asked for; some hundred kilobytes."""

    number: int
    root: str  # of the source, a path or a URL
    out: dict[Format, OutputFolder]  # the split's in each format
    ids: np.ndarray  # int64 [samples], in the order in which they are written
    rows: pa.Table  # the source's rows of these ids, `sources.table.SCHEMA`
    storage: Storage
    decode_all: bool  # whether images that are not resized are decoded, too
    digest: str  # the split's, with the stamps of the files: a shard of files that were altered since is made again
    quarantine_unread: bool = False  # whether an image that cannot be read is quarantined, and does not end the task

    def name(self, format: Format) -> str:
        """The shard's file name."""
        return shard_name(self.number, format)


def shard_name(number: int, format: Format) -> str:
    """The file name of shard `number` of a split."""
    return f"shard-{number:05d}.{format}"


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What the driver is told: the rest is on disk."""

    num_samples: int
    reused: bool  # an earlier run had made it


def write_shard(task: ShardTask) -> ShardResult:
    """Makes the shard's files and then their records, unless they are there already.

    An image that cannot be used goes to quarantine with the reason, and so does one that cannot be read, if the task
    says so. Raises `ValueError` where the source is not what
    was listed, `RuntimeError` where the disk is full, `OSError` where it fails otherwise; then nothing is left under a
    final name.
    """
    if all(is_done(folder, task.name(format), task.digest) for format, folder in task.out.items()):
        return ShardResult(num_samples=len(task.ids), reused=True)
    contents = Contents(task)
    with ExitStack() as files:
        paths = {format: files.enter_context(folder.new(task.name(format))) for format, folder in task.out.items()}
        with ExitStack() as writers:
            for format, path in paths.items():
                contents.writers[format] = writers.enter_context(shard_writer(path, format, len(task.ids)))
            images = (read_each if task.quarantine_unread else read_rows)(task.root, task.rows)
            for id, row, data in zip(task.ids.tolist(), task.rows.to_pylist(), images, strict=True):
                contents.take(id, row, data)
        records = {format: contents.record(format, path) for format, path in paths.items()}
    for format, folder in task.out.items():
        save_record(folder, records[format])
    return ShardResult(num_samples=len(task.ids), reused=False)


class Contents:
    """What has gone into a shard so far."""

    def __init__(self, task: ShardTask) -> None:
        self.task = task
        self.writers: dict = {}  # format -> ShardWriter
        self.offsets: dict[Format, list[int]] = {format: [] for format in task.out}
        self.samples: list[dict] = []
        self.quarantined: list[dict] = []
        self.moments, self.pixel_sums = Moments(), PixelSums()
        self.preparer = Transcoder(task.storage, decode_all=task.decode_all, for_beton="beton" in task.out)

    def take(self, id: int, row: dict, data: bytes | OSError) -> None:
        """Prepares and writes the image file `data`, or quarantines it."""
        try:
            if isinstance(data, OSError):
                raise BadImage(str(data))
            payload, kind, height, width, pixels = self.preparer.prepare(data)
        except BadImage as error:
            self.quarantined.append({"id": id, **row, "reason": str(error)})
            return
        if pixels is not None:
            self.moments.add(pixels)
            self.pixel_sums.add(pixels)
        for format, writer in self.writers.items():
            self.offsets[format].append(writer.add(row["key"], row["label"], payload, kind, height, width))
        self.samples.append(
            {
                "id": id,
                "key": row["key"],
                "label": row["label"],
                "shard": self.task.number,
                "size": len(payload),
                "height": height,
                "width": width,
                "kind": kind,
                "xxh3": xxh3_64(np.frombuffer(payload, np.uint8)),
            }
        )

    def record(self, format: Format, path: Path) -> ShardRecord:
        """The record of the shard that was written to `path`."""
        rows = [{**sample, "offset": at} for sample, at in zip(self.samples, self.offsets[format], strict=True)]
        shard = Shard(
            name=self.task.name(format),
            num_samples=len(rows),
            num_bytes=path.stat().st_size,
            sha256=file_sha256(path),
        )
        return ShardRecord(
            digest=self.task.digest,
            shard=shard,
            moments=self.moments if self.task.decode_all else None,
            samples=pa.Table.from_pylist(rows, SAMPLES_SCHEMA),
            quarantine=pa.Table.from_pylist(self.quarantined, QUARANTINE_SCHEMA),
            pixel_sums=self.pixel_sums,
        )
