"""A split elsewhere: its tables are copied here when it is opened, its shards as they are needed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, SAMPLES, Manifest, Shard
from imagefeed.pipeline.files.atomic import atomic, write_atomically
from imagefeed.pipeline.files.cache import CURE, Cache, CacheOptions, Wanted, write_checked
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.mapped_file import MappedFile
from imagefeed.pipeline.files.object_store import ObjectStore, StorageOptions, never
from imagefeed.pipeline.runtime.os_errors import doing

TABLES = "tables"  # folder in the cache: one folder a split, named by the SHA-256 of its manifest


@dataclass(frozen=True)
class Remote:
    """The split at `url`."""

    url: str
    cache_options: CacheOptions
    storage_options: StorageOptions

    @cached_property
    def storage(self) -> ObjectStore:
        """The files of the split."""
        return ObjectStore(self.url, self.storage_options)

    @cached_property
    def cache(self) -> Cache:
        """Where they are kept here."""
        return Cache(self.cache_options.folder or default_folder(), self.cache_options)

    def tables(self) -> Path:
        """A local folder with the manifest as it is now, the table of samples and the mean image.

        Raises `ValueError` where one of them is not what the manifest says, and what `ObjectStore` raises.
        """
        content = self.storage.read(MANIFEST)
        manifest = Manifest.parse(content, self.storage.name(MANIFEST))
        folder = self.cache.folder / TABLES / hashlib.sha256(content).hexdigest()
        with doing("made", folder, CURE):
            folder.mkdir(parents=True, exist_ok=True)
        for name in (SAMPLES, MEAN_IMAGE):
            digest = manifest.files.get(name)
            if digest is None or ((folder / name).is_file() and file_sha256(folder / name) == digest):
                continue
            size = self.storage.size(name)
            fetch = partial(self.storage.chunks, name, size)
            wanted = Wanted(digest, size, fetch, self.storage.name(name))
            with atomic(folder / name) as path, doing("written", folder / name, CURE), open(path, "wb") as file:
                write_checked(file, wanted)
        write_atomically(folder / MANIFEST, content)
        return folder

    def shard_memory(self, shard: Shard, cancelled: Callable[[], bool] = never) -> MappedFile:
        """A shard in memory, fetched unless it is here, and not evicted until the map is gone.

        Raises what `Cache.open` raises.
        """
        wanted = self.wanted(shard, cancelled)
        with self.cache.open(wanted, cancelled):
            return MappedFile(self.cache.path(wanted.digest), shard.num_bytes, locked=True)

    def wanted(self, shard: Shard, cancelled: Callable[[], bool] = never) -> Wanted:
        """A shard as the cache is asked for it. Raises `ValueError` where the manifest does not know its SHA-256."""
        fetch = partial(self.storage.chunks, shard.name, shard.num_bytes, cancelled)
        return Wanted(digest_of(shard), shard.num_bytes, fetch, self.storage.name(shard.name))

    def called(self, shard: Shard) -> str:
        """A shard as messages name it."""
        path = self.cache.path(self.wanted(shard).digest)
        return f"{self.storage.name(shard.name)} (here {path}: delete it to have it fetched again)"

    def beside(self, split: str) -> str:
        """The URL of another split of the same dataset."""
        return f"{self.url.rstrip('/').rpartition('/')[0]}/{split}"


def digest_of(shard: Shard) -> str:
    """The shard's SHA-256. Raises `ValueError` where the manifest does not know it."""
    if shard.sha256 is None:
        raise ValueError(f"{shard.name}: the manifest is that of an index, which is of use on its own machine only")
    return shard.sha256


def default_folder() -> Path:
    """Where shards are kept unless the user names another place."""
    from imagefeed.pipeline.files.paths import home  # and with it all of conversion, which a reader does not need

    return home() / "remote"
