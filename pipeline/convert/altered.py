"""Whether images are still those that a finished split was made from: files written since are read once more.

The digest of a split has the names and sizes of its images and not their times, which a copy of the source would alter.
So what is younger than the oldest shard is made again, in memory, and compared with the hashes in the table.
"""

import os
import sys

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.convert.plan import SplitPlan
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.dataset.tables import read_samples
from imagefeed.pipeline.files.input_folder import LocalInput, input_folder_at
from imagefeed.pipeline.files.output_folder import LocalOutput, OutputFolder
from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.image.transcoder import Transcoder
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.sources.locator import parse
from imagefeed.pipeline.sources.reader import read_rows
from imagefeed.pipeline.sources.subset import evenly_spaced

MOST_READ = 1000  # images: some seconds


def check_unaltered(split: SplitPlan, folder: OutputFolder, manifest: Manifest) -> None:
    """Raises `FileExistsError` with an image of the source that is another than the finished split in `folder` holds.

    Of many files that were written since, such as those of a copy, `MOST_READ` images are read at even distances, and
    that is said. Nothing is done where source or split lie elsewhere.
    """
    origin = input_folder_at(split.source.root)
    if not isinstance(origin, LocalInput) or not isinstance(folder, LocalOutput):
        return
    made = min((folder.path / shard.name).stat().st_mtime_ns for shard in manifest.shards)
    files = [parse(file).file for file in split.table["file"].to_pylist()]
    younger = {file for file in set(files) if written_ns(origin, file) > made}
    if not younger:
        return
    ids = np.flatnonzero([file in younger for file in files])
    rows = evenly_spaced(split.table.take(ids).append_column("id", pa.array(ids)), MOST_READ)
    known = read_samples(folder.path).select(["id", "xxh3"])
    hash_of = dict(zip(known["id"].to_pylist(), known["xxh3"].to_pylist(), strict=True))
    transcoder = Transcoder(
        split.options.storage(), decode_all=split.options.decode_all, for_beton="beton" in split.out
    )
    for row, data in zip(rows.to_pylist(), read_rows(split.source.root, rows), strict=True):
        try:
            found = xxh3_64(np.frombuffer(transcoder.prepare(data).payload, np.uint8))
        except BadImage:
            found = None  # in quarantine
        if found != hash_of.get(row["id"]):
            raise FileExistsError(
                f"{folder} already holds a split, made before {origin.path(parse(row['file']).file)} was written to "
                f"(image {row['key']}): choose another folder, or remove this one"
            )
    if len(ids) > len(rows):
        print(
            f"{folder}: {len(ids):,} images are in files younger than the split; {len(rows):,} of them were read and "
            "are the same",
            file=sys.stderr,
        )


def written_ns(origin: LocalInput, file: str) -> int:
    """When a file came to be what it is, nanoseconds since 1970: its bytes, or the file under this name."""
    status = os.stat(origin.real(file))
    return max(status.st_mtime_ns, status.st_ctime_ns)
