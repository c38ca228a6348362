"""From a source to finished splits: plan, make the shards wherever the runner makes them, then the manifest, last."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import codec
from pipeline.atomic import atomic, sweep
from pipeline.jpeg import codec_name
from pipeline.manifest import (
    MANIFEST,
    MEAN_IMAGE,
    QUARANTINE,
    SAMPLES,
    Format,
    Manifest,
    Storage,
    file_sha256,
)
from pipeline.moments import Moments, statistics
from pipeline.plan import shard_ids, split_evenly
from pipeline.progress import track
from pipeline.records import FOLDER, load_record, remove_records
from pipeline.runners import Runner, run_here
from pipeline.shards import ShardTask, shard_name, write_shard
from pipeline.sources import open_source
from pipeline.sources.table import Source

JPEG_BYTES_PER_PIXEL = 0.6  # more than photographs take at quality 95; only for the check of free space


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """How images become shards."""

    format: Literal["tar", "beton", "both"] = "tar"
    """Shards for WebDataset (tar), for FFCV (beton), or both from one pass, in OUT/tar and OUT/beton."""
    resize: Literal["paper"] = "paper"
    """paper: the shorter side to 256 pixels, then the central 256x256."""
    quality: int = 90
    """Quality of the stored JPEGs, 1 to 100."""
    raw: bool = False
    """Store raw pixels instead of JPEGs (beton only): nine times the bytes, nothing to decode."""
    shard_size: int = 4096
    """Images a shard, at most; a shard of 4,096 JPEGs is about 90 MB."""
    shuffle: int | None = 0
    """Seed of the order in which the images are stored; None keeps the source's sorted order."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality {self.quality}: choose 1 to 100")
        if self.shard_size < 1:
            raise ValueError(f"shard size {self.shard_size}: choose at least 1 image")
        if self.raw and self.format != "beton":
            raise ValueError(f"raw pixels go into betons only: choose format beton, not {self.format}")

    def storage(self) -> Storage:
        """The same as the manifest states it."""
        return Storage(
            resize=self.resize,
            size=codec.SIZE,
            encoding="raw" if self.raw else "jpeg",
            quality=None if self.raw else self.quality,
            codec=codec_name(),
        )


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split to be made: what from, and where to in each format."""

    name: str
    source: Source
    out: dict[Format, Path]
    options: ConvertOptions

    @property
    def table(self) -> pa.Table:
        """The source's rows; a sample's id is its place here."""
        return self.source.splits[self.name]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the listing and of every option that shapes the bytes: equal digests mean equal shards."""
        options = (asdict(self.options.storage()), self.options.shard_size, self.options.shuffle)
        return hashlib.sha256(f"{self.source.digest(self.name)} {options}".encode()).hexdigest()

    @property
    def num_shards(self) -> int:
        """How many shards the split becomes."""
        return len(split_evenly(len(self.table), self.options.shard_size))

    def tasks(self) -> Iterator[ShardTask]:
        """One task a shard, made when asked for: together they hold the whole table."""
        for number, ids in enumerate(shard_ids(len(self.table), self.options.shard_size, self.options.shuffle)):
            yield ShardTask(
                number=number,
                root=self.source.root,
                out=self.out,
                ids=ids,
                rows=self.table.take(ids),
                storage=self.options.storage(),
                digest=self.digest,
            )


def convert(source: str | Path, out: Path, options: ConvertOptions, run: Runner = run_here) -> dict[Path, Manifest]:
    """Converts every split of `source` into `out`; returns the manifest of each folder that now holds a split.

    A finished split is left as it is, an interrupted one is gone on with. Raises `ValueError`, `RuntimeError` or
    `OSError` with the file and the cure; then no unfinished file has a final name.
    """
    opened = open_source(source)
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    with only_writer(out):
        splits = [split for name in opened.splits if not is_finished(split := plan_split(opened, name, out, options))]
        check_space(out, splits)
        for split in splits:
            for folder in split.out.values():
                folder.mkdir(parents=True, exist_ok=True)
        try:
            tasks = (task for split in splits for task in split.tasks())
            done = (result.num_samples for result in run(write_shard, tasks))
            total = sum(len(split.table) for split in splits)
            for _ in track(done, total, "sharding", "images"):
                pass
        finally:
            for split in splits:
                for folder in split.out.values():
                    sweep(folder)
                    sweep(folder / FOLDER)
        for split in splits:
            for format in split.out:
                finish(split, format)
        plans = [plan_split(opened, name, out, options) for name in opened.splits]
        return {folder: Manifest.load(folder) for split in plans for folder in split.out.values()}


def plan_split(source: Source, name: str, out: Path, options: ConvertOptions) -> Split:
    """Where a split goes: OUT/<split>, or OUT/<format>/<split> where both formats are asked for."""
    if options.format == "both":
        folders: dict[Format, Path] = {"tar": out / "tar" / name, "beton": out / "beton" / name}
    else:
        folders = {options.format: out / name}
    return Split(name=name, source=source, out=folders, options=options)


def is_finished(split: Split) -> bool:
    """Whether every folder of the split has a manifest made from the same. Raises `FileExistsError` for another's."""
    finished = []
    for format, folder in split.out.items():
        if not (folder / MANIFEST).exists():
            continue
        there = Manifest.load(folder)
        if there.digest != split.digest or there.format != format:
            raise FileExistsError(
                f"{folder} already holds a split made from another source or with other options: "
                "choose another folder, or remove this one"
            )
        finished.append(format)
    return len(finished) == len(split.out)


def check_space(out: Path, splits: list[Split]) -> None:
    """Raises `OSError` where the disk has less room than the shards will take."""
    pixels = codec.SIZE**2
    need = sum(
        len(split.table) * len(split.out) * pixels * (3 if split.options.raw else JPEG_BYTES_PER_PIXEL)
        for split in splits
    )
    free = shutil.disk_usage(out).free
    if need > free:
        raise OSError(
            f"{out} has {free / 1e9:.1f} GB free and the shards may take {need / 1e9:.1f} GB: "
            "make room or choose another folder"
        )


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Holds the folder for this conversion. Raises `RuntimeError` while another one holds it."""
    with open(out / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"another conversion is writing to {out}: wait for it, or choose another folder"
            ) from None
        yield


def finish(split: Split, format: Format) -> None:
    """Joins the records of all shards into the split's tables and statistics, then writes the manifest.

    Raises `RuntimeError` where the counts do not add up to the source's.
    """
    folder = split.out[format]
    moments, pixel_sum = Moments(), np.zeros((codec.SIZE, codec.SIZE, 3), np.int64)
    shards, samples, quarantine = [], [], []
    for number in range(split.num_shards):
        record = load_record(folder, shard_name(number, format))
        shards.append(record.shard)
        samples.append(record.samples)
        quarantine.append(record.quarantine)
        moments += record.moments
        pixel_sum += record.pixel_sum
    rows = pa.concat_tables(samples).sort_by("id").combine_chunks()
    refused = pa.concat_tables(quarantine).sort_by("id").combine_chunks()
    if len(rows) + len(refused) != len(split.table):
        raise RuntimeError(
            f"{folder}: {len(rows)} samples and {len(refused)} in quarantine are not the {len(split.table)} of the "
            "source: remove the folder and run again"
        )
    if len(rows) == 0:
        raise ValueError(f"{folder}: not one image could be used; the first: {refused['reason'][0]}")
    with atomic(folder / SAMPLES) as path:
        pq.write_table(rows, path)
    with atomic(folder / QUARANTINE) as path:
        pq.write_table(refused, path)
    with atomic(folder / MEAN_IMAGE) as path, open(path, "wb") as file:
        np.save(file, pixel_sum / len(rows))
    Manifest(
        split=split.name,
        format=format,
        classes=split.source.classes,
        num_samples=len(rows),
        num_quarantined=len(refused),
        storage=split.options.storage(),
        shards=tuple(shards),
        statistics=statistics(moments),
        files={name: file_sha256(folder / name) for name in (SAMPLES, QUARANTINE, MEAN_IMAGE)},
        digest=split.digest,
    ).save(folder)
    remove_records(folder)
