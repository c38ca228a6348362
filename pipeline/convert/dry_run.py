"""What a conversion would write, how much and how long it would take: by converting a few images, and writing nothing.

The images lie at even distances in the source's order. Sizes are theirs, scaled up; the time is that of one core for
these images, divided among the workers, so it says nothing of slow disks, and of the cluster only if it has such cores.
"""

import time
from dataclasses import dataclass
from math import inf
from pathlib import Path

from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.files.output_folder import OutputFolder, output_folder_at
from imagefeed.pipeline.formats.beton import PAGE_SIZE
from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.image.transcoder import Transcoder
from imagefeed.pipeline.sampling.shard_plan import split_evenly
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reader import read_rows
from imagefeed.pipeline.sources.subset import select, spread

NUM_TRIED = 100  # images a split
TAR_OVERHEAD = 1792  # bytes a sample: two headers, the label, and half a block of padding for either


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One split in one format that a conversion would make."""

    folder: OutputFolder
    num_images: int
    num_classes: int
    num_shards: int
    num_bytes: float
    seconds: float  # on one core; where a split is made in two formats in one pass, each has half of it
    num_tried: int
    bad: dict[str, str]  # key and reason of each image among these that cannot be used


def estimate(source: str | Path, out: str | Path, options: ConvertOptions = ConvertOptions()) -> list[Estimate]:
    """What `convert` with the same arguments would do. Raises as it does where the source cannot be used."""
    opened = select(open_source(source), options.classes, options.limit)
    return [
        each
        for name, table in opened.splits.items()
        for each in try_split(opened.root, len(opened.classes), name, table, output_folder_at(out), options)
    ]


def try_split(root, num_classes, name, table, out, options) -> list[Estimate]:  # type: ignore[no-untyped-def]
    """The estimates of one split, one a format."""
    folders = options.folders(name)
    preparer = Transcoder(options.storage(), decode_all=options.decode_all, for_beton="beton" in folders)
    rows = spread(table, NUM_TRIED)
    images = list(read_rows(root, rows))
    size, seconds, bad = 0, 0.0, {}
    for timed in (False, True):  # the first time one image alone, so that whatever is compiled is compiled
        for key, data in zip(rows["key"].to_pylist()[: None if timed else 1], images, strict=False):
            start = time.perf_counter()
            try:
                payload = preparer.prepare(data).payload
            except BadImage as error:
                bad[key] = str(error)
                continue
            if timed:
                size += len(payload)
                seconds += time.perf_counter() - start
    scale = len(table) / len(rows)
    num_shards = len(split_evenly(len(table), options.shard_size))
    overhead = {"tar": TAR_OVERHEAD * len(table), "beton": PAGE_SIZE * num_shards}
    return [
        Estimate(
            folder=out.below(folder),
            num_images=len(table),
            num_classes=num_classes,
            num_shards=num_shards,
            num_bytes=size * scale + overhead[format],
            seconds=seconds * scale / len(folders),
            num_tried=len(rows),
            bad=bad,
        )
        for format, folder in folders.items()
    ]


def told(estimates: list[Estimate], workers: int) -> str:
    """The same in words, for `workers` processes: a line a split and the sum."""
    lines = [
        f"{each.folder}: {each.num_images:,} images of {each.num_classes:,} classes in {each.num_shards:,} shards, "
        f"about {each.num_bytes / 1e6:,.1f} MB (from {each.num_tried} images)"
        for each in estimates
    ]
    for each in estimates:
        lines += [f"  {key} could not be used: {reason}" for key, reason in each.bad.items()]
    free = estimates[0].folder.free()
    room = "" if free == inf else f", where {free / 1e9:,.1f} GB are free,"
    seconds = sum(each.seconds for each in estimates) / workers
    size = sum(each.num_bytes for each in estimates)
    lines.append(
        f"about {size / 1e9:,.3f} GB{room} and {duration(seconds)} with {workers} "
        f"worker{'s' * (workers != 1)}, besides start and disk; nothing was written"
    )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time as people say it."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s" if rest >= 60 else f"{rest} s"
