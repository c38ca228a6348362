"""A dataset in the other format, or other people's shards as a split of ours: payloads copied, none encoded again.

Shard by shard, so that any number of workers makes the same bytes; ids, keys, labels, quarantine and statistics stay.
From tar to beton and back is the identity, and what comes out is what a conversion to that format would have written.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.convert.write_shard import shard_name
from imagefeed.pipeline.dataset.manifest import MANIFEST, RECORDS, SAMPLES, Manifest, Shard
from imagefeed.pipeline.dataset.publish import begin, copy_writer, publish_split, table_writer, tidy
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.dataset.tables import SAMPLES_SCHEMA
from imagefeed.pipeline.files.atomic import atomic, sweep
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.mapped_file import check_unchanged
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.files.ranged import pread
from imagefeed.pipeline.formats.containers import Format, shard_writer
from imagefeed.pipeline.image.jpeg.codec import JpegCodec
from imagefeed.pipeline.image.pillow import open_header
from imagefeed.pipeline.image.stored import JPEG, OTHER, RAW, Storage
from imagefeed.pipeline.image.transcoder import codec_name
from imagefeed.pipeline.image.turbojpeg import OK
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.runtime.executors import Executor, run_here
from imagefeed.pipeline.runtime.progress import track


@dataclass(frozen=True, kw_only=True)
class RepackTask:
    """One shard, for a worker to copy."""

    source: Path
    shard: Shard
    rows: pa.Table  # of the table of samples, in the order of the shard
    out: Path
    format: Format


@dataclass(frozen=True, kw_only=True)
class Repacked:
    """What has become of a shard."""

    shard: Shard
    rows: pa.Table


def repack(dataset: Split, out: Path, format: Format, run: Executor = run_here) -> Manifest:
    """Writes `dataset` to the folder `out`, a split, in `format`; returns its manifest.

    Of a run that was ended when only tidying was left, the split stays. Raises `FileExistsError` where `out` holds
    another split already; `ValueError` with the sample where the format cannot hold one (raw pixels in a tar; in a
    beton what is no JPEG of grey or RGB), or its bytes are not those that were written.
    """
    if dataset.remote is not None:
        raise ValueError(f"{dataset.source} is elsewhere: copy it here first")
    out = Path(out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    with LocalOutput(out).lock():
        if (out / MANIFEST).exists():
            manifest = Manifest.load(out)
            if not (out / RECORDS).exists() or (manifest.digest, manifest.format) != (dataset.manifest.digest, format):
                raise FileExistsError(f"{out} already holds a split: choose another folder, or remove this one")
            tidy(LocalOutput(out), manifest)
            return manifest
        begin(LocalOutput(out))
        try:
            copies = run(copy_shard, tasks_of(dataset, out, format))
            done = list(track(copies, len(dataset), "copying", "images", lambda each: each.shard.num_samples))
        finally:
            sweep(out)
        return finish(dataset, out, format, sorted(done, key=lambda each: each.shard.name))


def tasks_of(dataset: Split, out: Path, format: Format) -> Iterator[RepackTask]:
    """A task a shard. Where keys of several shards are the same, as in betons of others, they get the shard's name."""
    keys = dataset.samples["key"]
    several = len(keys.unique()) < len(keys)
    place = SAMPLES_SCHEMA.get_field_index("key")
    for number, shard in enumerate(dataset.manifest.shards):
        found = np.flatnonzero(dataset.columns.shard == number)
        rows = dataset.samples.take(found[np.argsort(dataset.columns.offset[found], kind="stable")])
        if several:
            named = [f"{Path(shard.name).stem}/{key}" for key in rows["key"].to_pylist()]
            rows = rows.set_column(place, SAMPLES_SCHEMA.field(place), pa.array(named))
        yield RepackTask(
            source=dataset.path / shard.name,
            shard=replace(shard, name=shard_name(number, format)),
            rows=rows,
            out=out,
            format=format,
        )


def copy_shard(task: RepackTask) -> Repacked:
    """Writes one shard from another one."""
    path, rows, jpeg = task.out / task.shard.name, [], JpegCodec()
    with open(task.source, "rb", buffering=0) as source, atomic(path) as temporary:
        check_unchanged(task.source, os.fstat(source.fileno()), task.shard.num_bytes, task.shard.modified_ns)
        with shard_writer(temporary, task.format, len(task.rows)) as writer:
            for row in task.rows.to_pylist():
                payload = pread(source.fileno(), row["size"], row["offset"])
                digest = xxh3_64(np.frombuffer(payload, np.uint8))
                if len(payload) != row["size"] or row["xxh3"] not in (0, digest):
                    raise ValueError(f"{task.source}: sample {row['id']} ({row['key']}) was altered: restore the file")
                kind, height, width = kind_and_size(payload, row, jpeg)
                offset = writer.add(row["key"], row["label"], payload, kind, height, width)
                rows.append(row | {"offset": offset, "kind": kind, "height": height, "width": width, "xxh3": digest})
    shard = replace(task.shard, num_bytes=path.stat().st_size, sha256=file_sha256(path), modified_ns=None)
    return Repacked(shard=shard, rows=pa.Table.from_pylist(rows, task.rows.schema))


def kind_and_size(payload: bytes, row: dict, jpeg: JpegCodec) -> tuple[int, int, int]:
    """Kind, height and width of a payload; the table of somebody else's shard does not know them all."""
    if row["kind"] == RAW or (row["xxh3"] and row["height"]):
        return row["kind"], row["height"], row["width"]
    state, height, width = jpeg.size(payload)
    return (JPEG, height, width) if state == OK else (OTHER, *open_header(payload))


def finish(dataset: Split, out: Path, format: Format, done: list[Repacked]) -> Manifest:
    """Writes the tables, then the manifest."""
    found = Storage(resize="none", size=0, encoding="as found", quality=None, codec=codec_name())
    manifest = replace(
        dataset.manifest,
        split=out.name if dataset.manifest.is_index else dataset.manifest.split,
        format=format,
        storage=dataset.manifest.storage or found,
        shards=tuple(each.shard for each in done),
        files={},
    )
    table = pa.concat_tables([each.rows for each in done]).sort_by("id").combine_chunks()
    files = {name: copy_writer(dataset.path / name) for name in dataset.manifest.files if name != SAMPLES}
    manifest = publish_split(LocalOutput(out), manifest, {SAMPLES: table_writer(table), **files})
    tidy(LocalOutput(out), manifest)
    return manifest
