"""One split, opened: checked in a moment against its manifest, its shards mapped when first read."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.fields import FieldColumn, check_there
from imagefeed.pipeline.dataset.index import index_of, shards_of
from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, SAMPLES, Class, Manifest
from imagefeed.pipeline.dataset.remote import Remote
from imagefeed.pipeline.dataset.remote_shards import names_shards, open_shards
from imagefeed.pipeline.dataset.sample_store import Columns, SampleStore
from imagefeed.pipeline.dataset.statistics import Statistics
from imagefeed.pipeline.dataset.tables import count_samples, read_fields, read_mean_image, read_numbers, read_samples
from imagefeed.pipeline.files.cache import Cache, CacheOptions
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.mapped_file import MappedFile, check_unchanged
from imagefeed.pipeline.files.object_store import StorageOptions, is_url, never
from imagefeed.pipeline.image.stored import OTHER, RAW

MOST_MAPS = 16_000  # that a split keeps; a process may have 65,530 where Linux is as it comes


@dataclass(frozen=True)
class Split(SampleStore):
    """A finished split; made by `Split.open`. `len()` is its number of samples."""

    path: Path
    manifest: Manifest
    source: str = field(default="", compare=False)  # what was asked for, where that is not `path`
    remote: Remote | None = None  # where the shards are, if not in `path`
    _mapped: MutableMapping[int, MappedFile] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Maps of remote shards are gone when nobody holds them, so that the cache may evict the files. So are those of
        # many local ones: a process may have so many maps (vm.max_map_count), and then not even memory any more.
        keeps = self.remote is None and len(self.manifest.shards) <= MOST_MAPS
        object.__setattr__(self, "_mapped", {} if keeps else WeakValueDictionary())

    @classmethod
    def open(
        cls, path: str | Path, *, cache: CacheOptions | None = None, storage: StorageOptions | None = None
    ) -> Self:
        """Opens one split: the folder that holds its `manifest.json`, its URL, or shards that others made.

        The contract is that of `imagefeed.open_dataset`.
        """
        if is_url(path) and not str(path).startswith("file://"):
            return cls.open_url(str(path), cache or CacheOptions(), storage or StorageOptions())
        path = os.fspath(path).removeprefix("file://")
        folder = Path(path).absolute()
        if not (folder / MANIFEST).is_file() and (shards := shards_of(path)):
            return cls.open_folder(index_of(shards), path)
        return cls.open_folder(folder)

    @classmethod
    def open_folder(cls, path: Path, source: str = "") -> Self:
        """The split in the folder that holds its manifest; `source` is how the user calls it, if not so."""
        manifest = Manifest.load(path)
        for shard in manifest.shards:
            if manifest.is_index != Path(shard.name).is_absolute() or (
                not manifest.is_index and Path(shard.name).name != shard.name
            ):
                raise ValueError(f"{path}: shard {shard.name!r} is not a file of this folder: convert the source again")
            file = path / shard.name
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing: restore it, or convert the source again")
            check_unchanged(file, file.stat(), shard.num_bytes, shard.modified_ns)
        check_counts(path, manifest)
        return cls(path, manifest, source)

    @classmethod
    def open_url(cls, url: str, cache: CacheOptions, storage: StorageOptions) -> Self:
        """The split at a URL, or shards of others there."""
        if not names_shards(url):
            try:
                return cls.open_remote(Remote(url, cache, storage))
            except FileNotFoundError as error:
                missing = error
        else:
            missing = FileNotFoundError(f"{url}: no such tar or beton")
        try:
            shards = open_shards(url, cache, storage)
        except (FileNotFoundError, PermissionError):  # of a folder: it may be that nobody may list it
            shards = None
        if shards is None:
            raise missing
        return cls.open_remote(shards)

    @classmethod
    def open_remote(cls, remote: Remote) -> Self:
        """The split elsewhere."""
        path = remote.tables()
        manifest = Manifest.load(path)
        check_counts(path, manifest)
        return cls(path, manifest, remote.url, remote)

    def __len__(self) -> int:
        return self.manifest.num_samples

    def __reduce__(self) -> tuple[Any, ...]:
        if self.remote is not None:
            return type(self).open_remote, (self.remote,)
        return type(self).open, (self.path,)  # in another process the maps lie elsewhere

    @property
    def called(self) -> str:
        """The split as messages name it: as the user does, or by its folder."""
        return self.source or str(self.path)

    @property
    def classes(self) -> tuple[Class, ...]:
        """The classes, sorted by WordNet id; a label is an index into them."""
        return self.manifest.classes

    @property
    def statistics(self) -> Statistics:
        """Moments and PCA of the stored pixels. Raises `ValueError` with the command where nobody has taken them."""
        if self.manifest.statistics is None:
            where = shlex.quote(self.called)
            command = f"index {where} --statistics" if self.manifest.is_index else f"stats {where}"
            if self.manifest.is_index and self.remote is not None:
                command = f"convert {where} OUT --resize none --statistics"
            raise ValueError(
                f"{self.called} has no statistics of its pixels yet: take them once with "
                f"`imagefeed {command}`, or use a recipe or type that needs none"
            )
        return self.manifest.statistics

    @property
    def has_statistics(self) -> bool:
        """Whether `statistics` are there; an index of shards that others made has them when they were asked for."""
        return self.manifest.statistics is not None

    @property
    def has_mean_image(self) -> bool:
        """Whether `mean_image` is there: statistics were taken, and the images are of one size."""
        return MEAN_IMAGE in self.manifest.files

    @cached_property
    def samples(self) -> pa.Table:
        """The table of samples, see `tables.schema_of`. Raises `ValueError` where it was altered."""
        self._check_file(SAMPLES)
        return read_samples(self.path, self.manifest.fields)

    @cached_property
    def columns(self) -> Columns:
        """The table's numbers, proved to lie within the shards: a reader need not look again.

        Raises `ValueError` with the sample and the shard where one does not.
        """
        self._check_file(SAMPLES)
        numbers = read_numbers(self.path, Columns._fields, self.manifest.fields)
        columns = Columns(*numbers)  # the keys wait until somebody asks for a name
        for wrong, what in self._faults(columns):
            if wrong.any():
                row = int(wrong.argmax())
                raise ValueError(f"{self.path / SAMPLES}: row {row}, {what}: convert the source again")
        return columns

    @cached_property
    def mean_image(self) -> np.ndarray:
        """The per-pixel mean of the stored images, float32 [H, W, 3], grey levels 0 to 255.

        Raises `ValueError` where there is none: nobody has taken statistics, or the images are of several sizes.
        """
        return self._stored_mean().astype(np.float32)

    @property
    def pixel_sums(self) -> np.ndarray:
        """The sum of the stored images at each place, int64 [H, W, 3]. Raises as `mean_image` does.

        It is exact: a mean in float64 is rounded by far less than half a grey level of the sum.
        """
        return np.rint(self._stored_mean() * len(self)).astype(np.int64)

    @property
    def shard_bytes(self) -> np.ndarray:
        """Bytes of each shard, int64 [number of shards]."""
        return np.array([shard.num_bytes for shard in self.manifest.shards], np.int64)

    @property
    def elsewhere(self) -> np.ndarray:
        """Which shards are fetched when they are needed, bool [number of shards]: all or none."""
        return np.full(len(self.manifest.shards), self.remote is not None)

    @property
    def cache(self) -> Cache | None:
        """Where a remote split's shards are kept."""
        return None if self.remote is None else self.remote.cache

    def fields(self, names: Iterable[str]) -> dict[str, FieldColumn]:
        """The fields `names`, what samples say beside their labels, for all samples.

        Raises `ValueError` for a name that the split lacks, and where the table was altered.
        """
        names, there = list(names), sorted(self.manifest.fields)
        if not names:
            return {}
        check_there(names, there, str(self.source or self.path), "field")
        self._check_file(SAMPLES)
        return read_fields(self.path, names, self.manifest.fields)

    def name(self, row: int) -> str:
        """A sample as messages name it: the shard's file, the id and the key."""
        shard = self.manifest.shards[self.columns.shard[row]]
        file = self.remote.called(shard) if self.remote else self.path / shard.name
        return f"{file}: sample {self.columns.id[row]} ({self.samples['key'][row]})"

    def shard_memory(self, number: int, cancelled: Callable[[], bool] = never) -> MappedFile:
        """Shard `number` in memory. A remote one is fetched first unless it is here, which `cancelled()` ends."""
        shard, mapped = self.manifest.shards[number], self._mapped.get(number)
        if mapped is None:
            if self.remote is not None:
                mapped = self.remote.shard_memory(shard, cancelled)
            else:
                mapped = MappedFile(self.path / shard.name, shard.num_bytes, shard.modified_ns)
            # Of two threads that come here at once, both must go on with the same map: the other one is freed.
            mapped = self._mapped.setdefault(number, mapped)
        elif (
            shard.modified_ns is not None and self.remote is None
        ):  # nothing else would tell, where there are no hashes
            file = self.path / shard.name
            check_unchanged(file, file.stat(), shard.num_bytes, shard.modified_ns)
        return mapped

    def beside(self, split: str) -> Self | None:
        """Another split of the same dataset, if it is there."""
        if self.remote is not None:
            try:
                return self.open_remote(replace(self.remote, url=self.remote.beside(split)))
            except FileNotFoundError:
                return None
        return self.open(self.path.parent / split) if (self.path.parent / split).is_dir() else None

    def statistics_source(self) -> Self:
        """The split whose mean image and statistics are used: this one, or the training split beside it.

        Raises `ValueError` where there is none.
        """
        if self.manifest.split == "train" or self.manifest.is_index:
            return self
        beside = self.beside("train")
        if beside is None:
            raise ValueError(
                f"{self.called} is not a training split and there is no 'train' beside it: "
                "say with `statistics` which split's mean image to use"
            )
        return beside

    def _stored_mean(self) -> np.ndarray:
        if self.statistics and not self.has_mean_image:
            raise ValueError(f"{self.called} has no mean image: its images are of several sizes")
        self._check_file(MEAN_IMAGE)
        return read_mean_image(self.path)

    def _check_file(self, name: str) -> None:
        if file_sha256(self.path / name) != self.manifest.files.get(name):
            raise ValueError(f"{self.path / name} was altered after it was written: restore it or convert again")

    def _faults(self, columns: Columns) -> Iterator[tuple[np.ndarray, str]]:
        """Which rows of the table cannot be right, bool [n] each, and what is wrong with them."""
        shards = self.manifest.shards
        yield (columns.shard < 0) | (columns.shard >= len(shards)), "names a shard that the manifest lacks"
        length = np.array([shard.num_bytes for shard in shards])[columns.shard]
        outside = (columns.offset < 0) | (columns.size < 1) | (columns.size > length - columns.offset)
        yield outside, "lies outside its shard"
        yield (columns.label < 0) | (columns.label >= len(self.classes)), "has a label beyond the classes"
        yield np.diff(columns.id, prepend=-1) < 1, "is not sorted by id, or its id is there twice"
        signs = np.sign(columns.height), np.sign(columns.width)
        yield (signs[0] < 0) | (signs[0] != signs[1]), "has no size that an image can have"
        yield columns.kind > OTHER, "is of a kind that is not known"
        pixels = columns.height.astype(np.int64) * columns.width
        yield (columns.kind == RAW) & (columns.size != 3 * pixels), "has another size than its pixels"


def check_counts(path: Path, manifest: Manifest) -> None:
    """Raises `ValueError` where the counts of manifest, shards and table differ."""
    counts = {
        "its shards": sum(shard.num_samples for shard in manifest.shards),
        SAMPLES: count_samples(path),
    }
    for what, count in counts.items():
        if count != manifest.num_samples:
            raise ValueError(
                f"{path}: the manifest counts {manifest.num_samples} samples and {what} {count}: "
                "convert the source again"
            )
