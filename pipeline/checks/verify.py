"""Whether a dataset on disk is what its manifest says: from tables and headers alone, or every byte of it.

The quick check reads no image: tables by their hashes, counts, and each shard's own headers against the table, so that
a shard put in another's place is noticed. The full one also hashes each shard and each payload, decodes each image as
the loader would, and takes the statistics again. All faults are collected; none is repaired.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.checks.scan import scan
from imagefeed.pipeline.checks.statistics import differences
from imagefeed.pipeline.dataset.manifest import QUARANTINE, Shard
from imagefeed.pipeline.dataset.publish import files_of, strays
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.formats.containers import LISTERS, Format
from imagefeed.pipeline.image.stored import RAW
from imagefeed.pipeline.runtime.executors import Executor, run_here
from imagefeed.pipeline.runtime.os_errors import doing
from imagefeed.pipeline.runtime.progress import track


@dataclass(frozen=True, kw_only=True)
class ShardCheck:
    """One shard, for a worker to check."""

    path: Path
    shard: Shard
    format: Format
    rows: pa.Table  # of the table of samples
    hashed: bool  # whether its bytes are read, too


def verify(dataset: Split, *, quick: bool = False, run: Executor = run_here) -> list[str]:
    """All that is wrong with `dataset`, a line each with the file and, where it is one's fault, the sample.

    Raises `ValueError` where the dataset is elsewhere.
    """
    if dataset.remote is not None:
        raise ValueError(f"{dataset.source} is elsewhere: copy it here first, and verify the copy")
    faults = check_tables(dataset)
    if faults:  # what the tables say is not to be relied on
        return faults
    if not dataset.manifest.is_index:
        for name in strays(os.listdir(dataset.path), files_of(dataset.manifest)):
            faults.append(f"{dataset.path / name} is not of this split, an interrupted run has left it: remove it")
    num_shards = len(dataset.manifest.shards)
    checked = run(check_shard, shards_of(dataset, hashed=not quick))
    for found in track(checked, num_shards, "verifying", "shards", lambda _: 1):
        faults += found
    if quick:
        return faults
    looked = scan(dataset, "decoding", run)
    faults += looked.faults
    if dataset.has_statistics and not looked.faults:
        faults += differences(dataset, looked)
    return faults


def check_tables(dataset: Split) -> list[str]:
    """What is wrong with the files beside the shards."""
    manifest, faults = dataset.manifest, []
    for name, digest in manifest.files.items():
        path = dataset.path / name
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif file_sha256(path) != digest:
            faults.append(f"{path} was altered after it was written")
    if faults:
        return faults
    try:
        counts = np.bincount(dataset.columns.shard, minlength=len(manifest.shards))
        dataset.fields(manifest.fields)
    except ValueError as error:
        return [str(error)]
    for shard, count in zip(manifest.shards, counts.tolist(), strict=True):
        if count != shard.num_samples:
            faults.append(
                f"{dataset.path / shard.name}: {count} samples are in the table and {shard.num_samples} counted"
            )
    if QUARANTINE in manifest.files:
        with doing("read", dataset.path / QUARANTINE):
            count = pq.read_metadata(dataset.path / QUARANTINE).num_rows
        if count != manifest.num_quarantined:
            faults.append(
                f"{dataset.path / QUARANTINE} lists {count} images and {manifest.num_quarantined} are counted"
            )
    return faults


def shards_of(dataset: Split, hashed: bool) -> Iterator[ShardCheck]:
    """A task a shard."""
    for number, shard in enumerate(dataset.manifest.shards):
        rows = np.flatnonzero(dataset.columns.shard == number)
        yield ShardCheck(
            path=dataset.path / shard.name,
            shard=shard,
            format=dataset.manifest.format,
            rows=dataset.samples.take(rows),
            hashed=hashed,
        )


def check_shard(task: ShardCheck) -> list[str]:
    """What is wrong with a shard: its headers against the table and, if asked, its hash."""
    faults = []
    if task.hashed and task.shard.sha256 is not None and file_sha256(task.path) != task.shard.sha256:
        faults.append(f"{task.path} is not the file that was written: its SHA-256 is another one")
    if not task.shard.num_samples:  # all of its images are in quarantine
        return faults
    try:
        with doing("read", task.path), open(task.path, "rb", buffering=0) as file:
            listing = LISTERS[task.format](file.fileno(), os.fstat(file.fileno()).st_size, str(task.path))
    except ValueError as error:
        return [*faults, str(error)]
    if len(listing.label) != len(task.rows):
        return [*faults, f"{task.path} holds {len(listing.label)} samples and the table {len(task.rows)} of it"]
    rows = task.rows.take(np.argsort(task.rows["offset"].to_numpy(), kind="stable"))
    order = np.argsort(listing.offset, kind="stable")
    wrong = np.zeros(len(rows), bool)
    for name in ("offset", "size", "label"):
        if name != "label" or listing.classes is None:  # names, not numbers, stand in the shard
            wrong |= rows[name].to_numpy() != getattr(listing, name)[order]
    if task.format == "beton":
        for name in ("height", "width"):
            wrong |= rows[name].to_numpy() != getattr(listing, name)[order]
        wrong |= (rows["kind"].to_numpy() == RAW) != (listing.kind[order] == RAW)
    else:
        wrong |= rows["key"].to_numpy(zero_copy_only=False) != listing.key.to_numpy(zero_copy_only=False)[order]
    if wrong.any():
        row = rows.slice(int(wrong.argmax()), 1).to_pylist()[0]
        faults.append(
            f"{task.path}: sample {row['id']} ({row['key']}) and {int(wrong.sum()) - 1} others are not where, or what, "
            "the table says"
        )
    return faults
