"""From a source to finished splits: plan, make the shards wherever the runner makes them, then the manifest, last."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.shard_record import ShardRecord, load_record
from imagefeed.pipeline.convert.write_shard import ShardTask, shard_name, write_shard
from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, QUARANTINE, RECORDS, SAMPLES, Manifest
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums, statistics
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.output_folder import OutputFolder, output_folder_at
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.image.resize import Resize
from imagefeed.pipeline.runtime.executors import Executor, run_here
from imagefeed.pipeline.runtime.progress import track
from imagefeed.pipeline.sampling.shard_plan import costliest_first, shard_ids, split_evenly
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.subset import select

JPEG_BYTES_PER_PIXEL = 0.6  # more than photographs take at quality 95; only for the check of free space
READERS = 16  # threads that read records: an object store takes a while for each

Target = TypeVar("Target", str, Path)


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """One split to be made: what from, and where to in each format."""

    name: str
    source: Source
    out: dict[Format, OutputFolder]
    options: ConvertOptions

    @property
    def table(self) -> pa.Table:
        """The source's rows; a sample's id is its place here."""
        return self.source.splits[self.name]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the listing and of every option that shapes the bytes: equal digests mean equal shards."""
        chosen = self.options
        options = (asdict(chosen.storage()), chosen.decode_all, chosen.shard_size, chosen.shuffle)
        return hashlib.sha256(f"{self.source.digest(self.name)} {options}".encode()).hexdigest()

    @property
    def num_shards(self) -> int:
        """How many shards the split becomes."""
        return len(split_evenly(len(self.table), self.options.shard_size))

    def tasks(self) -> Iterator[ShardTask]:
        """One task a shard, made when asked for: together they hold the whole table. The costliest come first."""
        shuffle = None if self.options.shuffle == "none" else self.options.shuffle
        parts = shard_ids(len(self.table), self.options.shard_size, shuffle)
        for number in costliest_first(parts, self.table["size"].to_numpy()):
            ids = parts[number]
            rows = self.table.take(ids)
            stamps = rows["stamp"].to_numpy().astype("<i8").tobytes()
            yield ShardTask(
                number=number,
                root=self.source.root,
                out=self.out,
                ids=ids,
                rows=rows,
                storage=self.options.storage(),
                decode_all=self.options.decode_all,
                digest=hashlib.sha256(self.digest.encode() + stamps).hexdigest(),
            )


def convert(
    source: str | Path, out: Target, options: ConvertOptions = ConvertOptions(), run: Executor = run_here
) -> dict[Target, Manifest]:
    """Converts every split of `source` into `out`, a folder or the URL of one in an object store.

    Returns the manifest of each folder that now holds a split. A finished split is left as it is, an interrupted one is
    gone on with. Raises `ValueError`, `RuntimeError` or `OSError` with the file and the cure; then no unfinished file
    has a final name.
    """
    target = output_folder_at(out)
    opened = select(open_source(source), options.classes, options.limit)
    with target.held() as check:
        plans = [plan_split(opened, name, target, options) for name in opened.splits]
        splits = [split for split in plans if not is_finished(split)]
        check_space(target, splits)
        try:
            tasks = (task for split in splits for task in split.tasks())
            done = (result.num_samples for result in run(write_shard, tasks))
            total = sum(len(split.table) for split in splits)
            for _ in track(done, total, "sharding", "images"):
                check()
        finally:
            for split in splits:
                for folder in split.out.values():
                    folder.sweep()
                    folder.below(RECORDS).sweep()
        for split in splits:
            for format in split.out:
                finish(split, format, check)
        kind = type(out) if isinstance(out, str) else Path
        return {kind(str(folder)): load(folder) for split in plans for folder in split.out.values()}


def plan_split(source: Source, name: str, out: OutputFolder, options: ConvertOptions) -> SplitPlan:
    """One split of `source`, with the folders below `out` that it goes to."""
    folders: dict[Format, OutputFolder] = {
        format: out.below(folder) for format, folder in options.folders(name).items()
    }
    return SplitPlan(name=name, source=source, out=folders, options=options)


def load(folder: OutputFolder) -> Manifest:
    """A folder's manifest. Raises `FileNotFoundError` where there is none, `ValueError` where it is another file."""
    content = folder.read(MANIFEST)
    if content is None:
        raise FileNotFoundError(f"{folder} holds no {MANIFEST}: somebody has removed it; run the conversion again")
    return Manifest.parse(content, f"{folder}/{MANIFEST}")


def is_finished(split: SplitPlan) -> bool:
    """Whether every folder of the split has a manifest made from the same. Raises `FileExistsError` for another's."""
    finished = []
    for format, folder in split.out.items():
        if folder.size(MANIFEST) is None:
            continue
        there = load(folder)
        if there.digest != split.digest or there.format != format:
            raise FileExistsError(
                f"{folder} already holds a split made from another source or with other options: "
                "choose another folder, or remove this one"
            )
        finished.append(format)
    return len(finished) == len(split.out)


def check_space(out: OutputFolder, splits: list[SplitPlan]) -> None:
    """Raises `OSError` where the disk has less room than the shards will take."""
    need = sum(bytes_expected(split) * len(split.out) for split in splits)
    free = out.free()
    if need > free:
        raise OSError(
            f"{out} has {free / 1e9:.1f} GB free and the shards may take {need / 1e9:.1f} GB: "
            "make room or choose another folder"
        )


def bytes_expected(split: SplitPlan) -> float:
    """About how many bytes the shards of a split take in one format: rather too many."""
    resize = Resize.parse(split.options.resize)
    if resize.kind == "none":
        return float(pc.sum(split.table["size"]).as_py()) + 2048 * len(split.table)
    pixels = resize.side**2 * {"paper": 1, "short": 1.5, "long": 0.75}[resize.kind]
    return len(split.table) * pixels * (3 if split.options.raw else JPEG_BYTES_PER_PIXEL)


def finish(split: SplitPlan, format: Format, check: Callable[[], None]) -> None:
    """Joins the records of all shards into the split's tables and statistics, then writes the manifest.

    Raises `RuntimeError` where the counts do not add up to the source's, and what `check` raises, before the manifest.
    """
    folder = split.out[format]
    moments: Moments | None = Moments()
    pixel_sums = PixelSums()
    shards, samples, quarantine = [], [], []
    for record in load_records(folder, [shard_name(number, format) for number in range(split.num_shards)]):
        shards.append(record.shard)
        samples.append(record.samples)
        quarantine.append(record.quarantine)
        moments = None if moments is None or record.moments is None else moments + record.moments
        pixel_sums += record.pixel_sums
    rows = pa.concat_tables(samples).sort_by("id").combine_chunks()
    refused = pa.concat_tables(quarantine).sort_by("id").combine_chunks()
    if len(rows) + len(refused) != len(split.table):
        raise RuntimeError(
            f"{folder}: {len(rows)} samples and {len(refused)} in quarantine are not the {len(split.table)} of the "
            "source: remove the folder and run again"
        )
    if len(rows) == 0:
        raise ValueError(f"{folder}: not one image could be used; the first: {refused['reason'][0]}")
    files = {SAMPLES: write_table(folder, SAMPLES, rows), QUARANTINE: write_table(folder, QUARANTINE, refused)}
    if pixel_sums.sums is not None:
        with folder.new(MEAN_IMAGE) as path:
            with open(path, "wb") as file:
                np.save(file, pixel_sums.sums / len(rows))
            files[MEAN_IMAGE] = file_sha256(path)
    manifest = Manifest(
        split=split.name,
        format=format,
        classes=split.source.classes,
        num_samples=len(rows),
        num_quarantined=len(refused),
        storage=split.options.storage(),
        shards=tuple(shards),
        statistics=None if moments is None else statistics(moments),
        files=files,
        digest=split.digest,
    )
    check()
    with folder.new(MANIFEST) as path:
        path.write_text(manifest.to_json())
    folder.below(RECORDS).remove()


def load_records(folder: OutputFolder, names: list[str]) -> Iterator[ShardRecord]:
    """The records of shards, in order; a few are read at once, and no more are held."""
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(names), READERS):
            yield from readers.map(partial(load_record, folder), names[start : start + READERS])


def write_table(folder: OutputFolder, name: str, table: pa.Table) -> str:
    """Writes a table; returns the SHA-256 of its file."""
    with folder.new(name) as path:
        pq.write_table(table, path)
        return file_sha256(path)
