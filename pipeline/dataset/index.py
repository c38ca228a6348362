"""Other people's shards made into a split: a table of what is in them, read from their headers when first opened.

An index is a split's folder in the sense of `docs/format.md`, whose manifest names the shards by absolute paths. It
lies below $IMAGEFEED_HOME, under the digest of the shards' paths, sizes and times of writing, so that a changed file is
another index.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.classes import NAME_FILES, label_all, parse_classes
from imagefeed.pipeline.dataset.digests import spell_classes, spell_file, spell_tuple
from imagefeed.pipeline.dataset.manifest import MANIFEST, SAMPLES, Class, Manifest, Shard
from imagefeed.pipeline.dataset.publish import publish_folder, publish_split, table_writer
from imagefeed.pipeline.dataset.shard_paths import shards_of
from imagefeed.pipeline.dataset.tables import SAMPLES_SCHEMA
from imagefeed.pipeline.files.mapped_file import check_unchanged
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.files.paths import below_home, indexes
from imagefeed.pipeline.formats.containers import LISTERS, Format
from imagefeed.pipeline.formats.listing import Listing
from imagefeed.pipeline.runtime.os_errors import doing
from imagefeed.pipeline.runtime.progress import track

__all__ = ["index_of", "shards_of"]
VERSION = 1  # of what the listing makes of a shard: another one is another index
SPLIT = "index"  # a manifest must name its split; what others call theirs is not known
THREADS = 8  # that read headers: more than cores, because a cold disk is waited for
WITH_STATISTICS = "-statistics"


class ShardFile(NamedTuple):
    """A shard as it is on disk."""

    path: Path
    num_bytes: int
    modified_ns: int  # since 1970


class Survey(NamedTuple):
    """What an index is made from, before a shard is opened."""

    format: Format
    files: tuple[ShardFile, ...]
    classes: tuple[Class, ...] | None  # where a file beside the shards names them

    @property
    def digest(self) -> str:
        """SHA-256 of all that names the shards and their state, and of the classes."""
        files = spell_tuple(spell_file(each.path, each.num_bytes, each.modified_ns) for each in self.files)
        spelled = f"({VERSION}, ({self.format!r}, {files}, {spell_classes(self.classes)}))"
        return hashlib.sha256(spelled.encode("utf-8", "surrogateescape")).hexdigest()


def survey(shards: Sequence[Path]) -> Survey:
    """What is known of `shards` (absolute, of one format) without opening them."""
    found = [(path, path.stat()) for path in shards]
    return Survey(
        format="tar" if shards[0].suffix == ".tar" else "beton",
        files=tuple(ShardFile(path, stat.st_size, stat.st_mtime_ns) for path, stat in found),
        classes=read_classes(shards[0].parent),
    )


def read_classes(folder: Path) -> tuple[Class, ...] | None:
    """The classes by label, from a file of names in a shard's folder or the one above; None without such a file."""
    places = (each / name for each in (folder, folder.parent) for name in NAME_FILES)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    with doing("read", path):
        return parse_classes(path.read_bytes(), str(path))


def index_of(shards: Sequence[Path]) -> Path:
    """The folder of the index of `shards`, which is made if it is not there; one with statistics if there is one.

    Raises `ValueError` or `OSError` with the file and the sample where a shard is not whole; then there is no index.
    """
    found = survey(shards)
    folder = indexes() / found.digest
    finished = folder.with_name(folder.name + WITH_STATISTICS)
    if (finished / MANIFEST).is_file():
        return finished
    with below_home(folder.parent):
        publish_folder(folder, lambda temporary: write_index(temporary, found))
    return folder


def write_index(folder: Path, found: Survey) -> None:
    """Reads the headers of all shards and writes table and manifest into `folder`."""
    listings = list_shards(found)
    shards = [
        Shard(
            name=str(file.path),
            num_samples=len(each.label),
            num_bytes=file.num_bytes,
            sha256=None,
            modified_ns=file.modified_ns,
        )
        for file, each in zip(found.files, listings, strict=True)
    ]
    names = [file.path for file in found.files]
    write_listings(folder, found.format, listings, shards, names, found.classes, found.digest)


def write_listings(
    folder: Path,
    format: Format,
    listings: list[Listing],
    shards: list[Shard],
    names: Sequence[object],
    given: tuple[Class, ...] | None,
    digest: str,
) -> None:
    """Writes table and manifest of what `shards`, which messages call by `names`, hold into `folder`."""
    labels, classes = label_all(listings, names, given)
    counts = [len(each.label) for each in listings]
    columns = {
        "id": np.arange(sum(counts)),
        "label": labels,
        "shard": np.repeat(np.arange(len(counts)), counts),
        "xxh3": np.zeros(sum(counts)),
        "key": pa.chunked_array([each.key for each in listings]),
    }
    for name in ("offset", "size", "height", "width", "kind"):
        columns[name] = np.concatenate([getattr(each, name) for each in listings])
    table = pa.table({name: columns[name] for name in SAMPLES_SCHEMA.names}).cast(SAMPLES_SCHEMA)
    manifest = Manifest(
        split=SPLIT,
        format=format,
        classes=classes,
        num_samples=len(table),
        num_quarantined=0,
        storage=None,
        shards=tuple(shards),
        statistics=None,
        files={},
        digest=digest,
    )
    publish_split(LocalOutput(folder), manifest, {SAMPLES: table_writer(table)})


def list_shards(found: Survey) -> list[Listing]:
    """What is in each shard, in order. Raises the first error that is met."""
    with ThreadPoolExecutor(min(THREADS, len(found.files))) as pool:
        listings = pool.map(lambda file: list_shard(file, found.format), found.files)
        try:
            return list(track(listings, len(found.files), "indexing", "shards", lambda _: 1))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def list_shard(file: ShardFile, format: Format) -> Listing:
    """What is in a shard. Raises `ValueError` also where the file is changed meanwhile."""
    with doing("read", file.path), open(file.path, "rb", buffering=0) as shard:
        check_unchanged(file.path, os.fstat(shard.fileno()), file.num_bytes, file.modified_ns)
        listing = LISTERS[format](shard.fileno(), file.num_bytes, str(file.path))
        check_unchanged(file.path, os.fstat(shard.fileno()), file.num_bytes, file.modified_ns)
    return listing
