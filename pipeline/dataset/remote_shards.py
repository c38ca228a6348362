"""Other people's shards at a URL: listed from their headers when first opened, fetched whole as they are needed.

The index lies here, as that of shards on this machine (`index.py`), under the digest of the shards' URLs, sizes and
stamps. Nobody has told their hashes, so a shard in the cache is known by URL, size and stamp, and after it has come its
stamp is looked at again.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from imagefeed.pipeline.dataset.classes import NAME_FILES, parse_classes
from imagefeed.pipeline.dataset.digests import spell_classes, spell_tuple
from imagefeed.pipeline.dataset.index import VERSION, write_listings
from imagefeed.pipeline.dataset.manifest import MANIFEST, SAMPLES, Class, Shard
from imagefeed.pipeline.dataset.publish import publish_folder
from imagefeed.pipeline.dataset.remote import Remote
from imagefeed.pipeline.files.cache import CacheOptions, Wanted
from imagefeed.pipeline.files.input_folder import REQUESTS, RemoteInput, list_files, named
from imagefeed.pipeline.files.object_store import ObjectStore, StorageOptions, never
from imagefeed.pipeline.files.paths import below_home, indexes
from imagefeed.pipeline.formats.containers import LISTERS, Format
from imagefeed.pipeline.formats.listing import Listing
from imagefeed.pipeline.runtime.progress import track

SHARD = r"(?:.*/)?[^/]*\.(?:tar|beton)"
IN_FOLDER = r"[^/]*\.(?:tar|beton)"


@dataclass(frozen=True)
class RemoteShards(Remote):
    """Shards below `url`, whose index is the folder `index` on this machine."""

    index: Path

    def tables(self) -> Path:
        """The folder of the index."""
        return self.index

    def wanted(self, shard: Shard, cancelled: Callable[[], bool] = never) -> Wanted:
        """A shard as the cache is asked for it; the digest is that of what is known of it."""
        known = (self.storage.name(shard.name), shard.num_bytes, shard.modified_ns)
        digest = hashlib.sha256(repr(known).encode("utf-8", "surrogateescape")).hexdigest()
        return Wanted(digest, shard.num_bytes, partial(self._fetch, shard, cancelled), known[0], checked=False)

    def _fetch(self, shard: Shard, cancelled: Callable[[], bool]) -> Iterator[bytes]:
        yield from self.storage.chunks(shard.name, shard.num_bytes, cancelled)
        if self.storage.found(shard.name).stamp != shard.modified_ns:
            raise ValueError(f"{self.storage.name(shard.name)} was written to after it was listed: open it again")


def names_shards(url: str) -> bool:
    """Whether a URL names tars or betons, one by one or with wildcards."""
    return re.search(r"\.(?:tar|beton)$", url) is not None


def open_shards(url: str, cache: CacheOptions, storage: StorageOptions) -> RemoteShards | None:
    """The shards that `url` stands for, a file, several by braces and wildcards, or a folder of them; None where there
    are none. Their index is made if it is not here.

    Raises `ValueError` with the file and the sample where a shard is not whole, and what `ObjectStore` raises.
    """
    origin, files = list_files(url)
    assert isinstance(origin, RemoteInput)
    shards = named(files, SHARD if names_shards(url) else IN_FOLDER)
    ours = not names_shards(url) and SAMPLES in files["name"].to_pylist()  # a split of ours without its manifest
    if ours or not len(shards):
        return None
    kinds = {name.rpartition(".")[2] for name in shards["name"].to_pylist()}
    if len(kinds) > 1:
        raise ValueError(f"{url} has tars and betons: name one kind by *")
    format: Format = "tar" if kinds == {"tar"} else "beton"
    origin = RemoteInput(ObjectStore(origin.root, storage))
    given = read_classes(origin)
    rows = shards.to_pylist()
    spelled = spell_tuple(f"({origin.path(row['name'])!r}, {row['size']!r}, {row['stamp']!r})" for row in rows)
    text = f"({VERSION}, 'remote', {format!r}, {spelled}, {spell_classes(given)})"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    folder = indexes() / digest
    if not (folder / MANIFEST).is_file():
        with below_home(folder.parent):
            publish_folder(folder, lambda temporary: write_remote(temporary, origin, format, shards, given, digest))
    return RemoteShards(origin.root, cache, storage, folder)


def read_classes(origin: RemoteInput) -> tuple[Class, ...] | None:
    """The classes by label, from a file of names beside the shards; None without such a file."""
    for name in NAME_FILES:
        try:
            return parse_classes(origin.read(name), origin.path(name))
        except FileNotFoundError:
            continue
    return None


def write_remote(
    folder: Path, origin: RemoteInput, format: Format, shards: pa.Table, given: tuple[Class, ...] | None, digest: str
) -> None:
    """Reads the headers of all `shards` (`input_folder.FILES`) and writes their index into `folder`."""

    def listing(row: dict) -> Listing:
        with origin.open(row["name"], row["size"]) as opened:
            found = LISTERS[format](opened, row["size"], origin.path(row["name"]))
        if origin.found(row["name"]).stamp != row["stamp"]:
            raise ValueError(f"{origin.path(row['name'])} was written to while it was listed: open it again")
        return found

    rows = shards.to_pylist()
    with ThreadPoolExecutor(REQUESTS) as pool:
        try:
            listings = list(track(pool.map(listing, rows), len(rows), "indexing", "shards", lambda _: 1))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    described = [
        Shard(
            name=row["name"], num_samples=len(each.label), num_bytes=row["size"], sha256=None, modified_ns=row["stamp"]
        )
        for row, each in zip(rows, listings, strict=True)
    ]
    write_listings(folder, format, listings, described, [origin.path(row["name"]) for row in rows], given, digest)
