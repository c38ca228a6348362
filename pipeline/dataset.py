"""One split on disk, opened: checked in a moment against its manifest, its shards mapped when first read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.manifest import (
    MEAN_IMAGE,
    OTHER,
    RAW,
    SAMPLES,
    Class,
    Manifest,
    file_sha256,
    read_mean_image,
    read_numbers,
    read_samples,
)
from pipeline.mapping import Mapping
from pipeline.moments import Statistics

if TYPE_CHECKING:
    from pipeline.loader import Loader


class Columns(NamedTuple):
    """The numbers of the table of samples, one row a sample, sorted by id."""

    id: np.ndarray  # int64
    label: np.ndarray  # int32
    shard: np.ndarray  # int32, index into the manifest's shards
    offset: np.ndarray  # int64, of the payload in the shard, bytes
    size: np.ndarray  # int64, bytes
    height: np.ndarray  # int32, pixels; 0 where unknown
    width: np.ndarray  # int32
    kind: np.ndarray  # uint8: `manifest.JPEG`, RAW or OTHER
    xxh3: np.ndarray  # uint64, of the payload; 0 where unknown


@dataclass(frozen=True)
class Dataset:
    """A finished split; made by `open_dataset`. `len()` is its number of samples."""

    path: Path
    manifest: Manifest
    _mappings: dict[int, Mapping] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return self.manifest.num_samples

    def __reduce__(self) -> tuple[Any, ...]:
        return open_dataset, (self.path,)  # in another process the maps lie elsewhere

    @property
    def classes(self) -> tuple[Class, ...]:
        """The classes, sorted by WordNet id; a label is an index into them."""
        return self.manifest.classes

    @property
    def statistics(self) -> Statistics:
        """Moments and PCA of the stored pixels."""
        return self.manifest.statistics

    @cached_property
    def samples(self) -> pa.Table:
        """The table of samples, `manifest.SAMPLES_SCHEMA`. Raises `ValueError` where it was altered."""
        self._check_file(SAMPLES)
        return read_samples(self.path)

    @cached_property
    def columns(self) -> Columns:
        """The table's numbers, proved to lie within the shards: a reader need not look again.

        Raises `ValueError` with the sample and the shard where one does not.
        """
        self._check_file(SAMPLES)
        columns = Columns(*read_numbers(self.path, Columns._fields))  # the keys wait until somebody asks for a name
        for wrong, what in self._faults(columns):
            if wrong.any():
                row = int(wrong.argmax())
                raise ValueError(f"{self.path / SAMPLES}: row {row}, {what}: convert the source again")
        return columns

    @cached_property
    def mean_image(self) -> np.ndarray:
        """The per-pixel mean of the stored images, float32 [H, W, 3], grey levels 0 to 255."""
        self._check_file(MEAN_IMAGE)
        return read_mean_image(self.path).astype(np.float32)

    def loader(self, **options: Any) -> "Loader":
        """Batches of this dataset; the options are those of `pipeline.loader.LoaderOptions`."""
        from pipeline.loader import Loader, LoaderOptions  # torch, which nothing else here needs

        return Loader(self, LoaderOptions(**options))

    def maps(self, rows: np.ndarray) -> tuple[np.ndarray, list[Mapping]]:
        """Where the payloads of `rows` (int64 [n]) begin in memory, int64 [n], while somebody holds the maps."""
        shards = self.columns.shard[rows]
        numbers, places = np.unique(shards, return_inverse=True)
        maps = [self._mapping(int(number)) for number in numbers]
        starts = np.array([each.address for each in maps], np.int64)
        return starts[places] + self.columns.offset[rows], maps

    def name(self, row: int) -> str:
        """A sample as messages name it: the shard's file, the id and the key."""
        shard = self.manifest.shards[self.columns.shard[row]].name
        return f"{self.path / shard}: sample {self.columns.id[row]} ({self.samples['key'][row]})"

    def _mapping(self, number: int) -> Mapping:
        if number not in self._mappings:
            shard = self.manifest.shards[number]
            # Of two threads that come here at once, both must go on with the same map: the other one is freed.
            self._mappings.setdefault(number, Mapping(self.path / shard.name, shard.num_bytes))
        return self._mappings[number]

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
        yield columns.kind > OTHER, "is of a kind that is not known"
        pixels = columns.height.astype(np.int64) * columns.width
        yield (columns.kind == RAW) & (columns.size != 3 * pixels), "has another size than its pixels"


def open_dataset(path: str | Path) -> Dataset:
    """Opens one split: the folder that holds its `manifest.json`.

    Takes milliseconds: every shard must be there with the manifest's number of bytes, and the counts must agree; the
    bytes themselves are proved when they are read. Raises `FileNotFoundError` or `ValueError` with the file and the
    cure; where `path` holds splits rather than being one, the message lists them.
    """
    path = Path(path).absolute()
    manifest = Manifest.load(path)
    for shard in manifest.shards:
        if Path(shard.name).name != shard.name:
            raise ValueError(f"{path}: shard {shard.name!r} is not a file of this folder: convert the source again")
        file = path / shard.name
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: restore it, or convert the source again")
        if file.stat().st_size != shard.num_bytes:
            raise ValueError(
                f"{file} has {file.stat().st_size} bytes and not the {shard.num_bytes} that were written: "
                "restore it, or convert the source again"
            )
    counts = {
        "its shards": sum(shard.num_samples for shard in manifest.shards),
        SAMPLES: pq.read_metadata(path / SAMPLES).num_rows,
    }
    for what, count in counts.items():
        if count != manifest.num_samples:
            raise ValueError(
                f"{path}: the manifest counts {manifest.num_samples} samples and {what} {count}: "
                "convert the source again"
            )
    return Dataset(path, manifest)
