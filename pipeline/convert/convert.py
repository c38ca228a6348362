"""From a source to finished splits: plan, make the shards wherever the runner makes them, then the manifest, last."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from imagefeed.pipeline.convert.altered import check_unaltered
from imagefeed.pipeline.convert.chosen import chosen_source
from imagefeed.pipeline.convert.differences import differences
from imagefeed.pipeline.convert.estimate import estimate_split
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.plan import SplitPlan, plan_split
from imagefeed.pipeline.convert.shard_record import ShardRecord, load_record
from imagefeed.pipeline.convert.write_shard import shard_name, write_shard
from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, QUARANTINE, RECORDS, SAMPLES, Manifest
from imagefeed.pipeline.dataset.publish import array_writer, begin, publish_split, table_writer, tidy
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums, statistics
from imagefeed.pipeline.dataset.tables import schema_of
from imagefeed.pipeline.files.output_folder import OutputFolder, output_folder_at
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.runtime.executors import Executor, run_here
from imagefeed.pipeline.runtime.progress import track
from imagefeed.pipeline.sources.class_order import class_order

READERS = 16  # threads that read records: an object store takes a while for each

Target = TypeVar("Target", str, Path)


def convert(
    source: str | Path, out: Target, options: ConvertOptions = ConvertOptions(), run: Executor = run_here
) -> dict[Target, Manifest]:
    """Converts every split of `source` into `out`, a folder or the URL of one in an object store.

    What was understood of the source is said on standard error before any work begins.
    Returns the manifest of each folder that now holds a split. A finished split is left as it is, an interrupted one is
    gone on with. Raises `ValueError`, `RuntimeError` or `OSError` with the file and the cure; then no unfinished file
    has a final name.
    """
    target = output_folder_at(out)
    opened = chosen_source(source, target, options)
    plans = [plan_split(opened, name, target, options) for name in opened.splits]
    finished = [split for split in plans if is_finished(split)]
    for split in finished:
        for folder in split.out.values():
            check_unaltered(split, folder, load(folder))
    if len(finished) == len(plans) and not any(map(left_over, plans)):
        return manifests_of(plans, type(out))  # without a lock: the folder may be read-only
    with target.lock() as check:
        splits = [split for split in plans if not is_finished(split)]
        check_space(target, splits)
        for split in splits:
            for folder in split.out.values():
                begin(folder)
        try:
            tasks = (task for split in splits for task in split.tasks())
            total = sum(len(split.table) for split in splits)
            made = run(write_shard, tasks)
            for _ in track(made, total, "sharding", "images", attrgetter("num_samples"), lambda done: not done.reused):
                check()
        finally:
            for split in splits:
                for folder in split.out.values():
                    folder.sweep()
                    folder.below(RECORDS).sweep()
        for split in splits:
            for format in split.out:
                finish(split, format, check)
        for split in plans:
            for folder in left_over(split):
                tidy(folder, load(folder))
        return manifests_of(plans, type(out))


def manifests_of(plans: list[SplitPlan], kind: type[Target]) -> dict[Target, Manifest]:
    """The manifest of each folder, which is named as the user names folders."""
    named = str if issubclass(kind, str) else Path
    return {named(str(folder)): load(folder) for split in plans for folder in split.out.values()}


def left_over(split: SplitPlan) -> list[OutputFolder]:
    """Its finished folders in which a conversion was killed before it had tidied them."""
    return [folder for folder in split.out.values() if {MANIFEST, RECORDS} <= set(folder.names())]


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
                f"{folder} already holds a split made {differences(split, there)}: choose another folder, or remove "
                "this one"
            )
        finished.append(format)
    return len(finished) == len(split.out)


def check_space(out: OutputFolder, splits: list[SplitPlan]) -> None:
    """Raises `OSError` where the disk has less room than the shards that are still to be made will take."""
    free = out.free()
    if free == inf:
        return
    need = sum(each.num_bytes for split in splits for each in estimate_split(split))
    need -= sum(bytes_made(split) for split in splits)
    if need > free:
        raise OSError(
            f"{out} has {free / 1e9:,.3g} GB free and the shards may take {need / 1e9:,.3g} GB: "
            "make room or choose another folder"
        )


def bytes_made(split: SplitPlan) -> int:
    """Bytes of the shards that an interrupted conversion has left."""
    return sum(
        folder.size(shard_name(number, format)) or 0
        for format, folder in split.out.items()
        for number in range(split.num_shards)
    )


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
    rows = with_fields(split, pa.concat_tables(samples).sort_by("id").combine_chunks())
    refused = pa.concat_tables(quarantine).sort_by("id").combine_chunks()
    if len(rows) + len(refused) != len(split.table):
        raise RuntimeError(
            f"{folder}: {len(rows)} samples and {len(refused)} in quarantine are not the {len(split.table)} of the "
            "source: remove the folder and run again"
        )
    if len(rows) == 0:
        raise ValueError(f"{folder}: not one image could be used; the first: {refused['reason'][0]}")
    files = {SAMPLES: table_writer(rows), QUARANTINE: table_writer(refused)}
    if pixel_sums.sums is not None:
        files[MEAN_IMAGE] = array_writer(pixel_sums.sums / len(rows))
    manifest = Manifest(
        split=split.name,
        format=format,
        classes=split.source.classes,
        num_samples=len(rows),
        num_quarantined=len(refused),
        storage=split.options.storage(),
        shards=tuple(shards),
        statistics=None if moments is None else statistics(moments),
        files={},
        digest=split.digest,
        fields=split.source.fields,
        class_order=class_order(split.source),
        left_out=split.source.left_out,
    )
    manifest = publish_split(folder, manifest, files, check)
    tidy(folder, manifest)


def with_fields(split: SplitPlan, rows: pa.Table) -> pa.Table:
    """The table of samples `rows` with the fields of the split's source, by the samples' ids."""
    fields = split.source.fields
    if not fields:
        return rows
    columns = split.table.select(sorted(fields)).take(rows["id"])
    return pa.table([*rows.columns, *columns.columns], schema=schema_of(fields)).combine_chunks()


def load_records(folder: OutputFolder, names: list[str]) -> Iterator[ShardRecord]:
    """The records of shards, in order; a few are read at once, and no more are held."""
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(names), READERS):
            yield from readers.map(partial(load_record, folder), names[start : start + READERS])
