"""How much a conversion will write and how long it will take: by converting a few images of each split.

The images lie at even distances in the source's order. Sizes are theirs, scaled up; the time is that of one core for
these images, so it says nothing of slow disks. The same source and options give the same size on any run.
"""

import time
from dataclasses import dataclass
from math import ceil

from imagefeed.pipeline.convert.plan import SplitPlan
from imagefeed.pipeline.files.output_folder import OutputFolder
from imagefeed.pipeline.formats.beton import ALLOCATION, FIELD, HEADER, PAGE_SIZE, SAMPLE
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.image.transcoder import Transcoder
from imagefeed.pipeline.sources.reader import read_each, read_rows
from imagefeed.pipeline.sources.subset import evenly_spaced

NUM_TRIED = 50  # images a split
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


def estimate_split(split: SplitPlan) -> list[Estimate]:
    """The estimates of one split, one for each format. Raises as `read_rows` does where an image cannot be read."""
    options, table = split.options, split.table
    transcoder = Transcoder(options.storage(), decode_all=options.decode_all, for_beton="beton" in split.out)
    rows = evenly_spaced(table, NUM_TRIED)
    read = read_each if options.on_error == "quarantine" else read_rows
    found = list(zip(rows["key"].to_pylist(), read(split.source.root, rows), strict=True))
    images = [(key, data) for key, data in found if not isinstance(data, OSError)]
    bad = {key: str(data) for key, data in found if isinstance(data, OSError)}
    sizes, seconds = [], 0.0
    for timed in (False, True):  # the first time one image alone, so that whatever is compiled is compiled
        for key, data in images if timed else images[:1]:
            start = time.perf_counter()
            try:
                payload = transcoder.prepare(data).payload
            except BadImage as error:
                bad[key] = str(error)
                continue
            if timed:
                sizes.append(len(payload))
                seconds += time.perf_counter() - start
    scale = len(table) / len(rows)
    per_shard, mean_size = len(sizes) * scale / split.num_shards, sum(sizes) / max(1, len(sizes))
    return [
        Estimate(
            folder=folder,
            num_images=len(table),
            num_classes=len(split.source.classes),
            num_shards=split.num_shards,
            num_bytes=split.num_shards * bytes_of_shard(format, per_shard, mean_size),
            seconds=seconds * scale / len(split.out),
            num_tried=len(rows),
            bad=bad,
        )
        for format, folder in split.out.items()
    ]


def bytes_of_shard(format: Format, num_samples: float, mean_size: float) -> float:
    """About the bytes of a shard of so many payloads of `mean_size` bytes each."""
    if format == "tar":
        return num_samples * (mean_size + TAR_OVERHEAD)
    header = HEADER.itemsize + 2 * FIELD.itemsize + num_samples * SAMPLE.itemsize
    payloads_per_page = max(1, PAGE_SIZE // max(1, mean_size))  # none lies across the border of two pages
    pages = ceil(header / PAGE_SIZE) + ceil(num_samples / payloads_per_page)
    return PAGE_SIZE * pages + num_samples * ALLOCATION.itemsize
