"""What a split on disk holds: the one truth about it, written last, so that a split without it does not exist.

A complete example stands in `docs/format.md`; a test loads that very example.
"""

import json
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.statistics import Statistics
from imagefeed.pipeline.dataset.type_check import type_check
from imagefeed.pipeline.files.atomic import write_atomically
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.image.stored import Storage

MANIFEST = "manifest.json"
SAMPLES = "samples.parquet"
MEAN_IMAGE = "mean_image.npy"
QUARANTINE = "quarantine.parquet"
RECORDS = ".records"  # a folder: what is known of finished shards, until the manifest is written
VERSION = 1
SAMPLES_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),  # the sample's place in the source's sorted order: its name for ever
        ("key", pa.string()),  # its name in the source, unique, without a suffix
        ("label", pa.int32()),  # index into the manifest's classes
        ("shard", pa.int32()),  # index into the manifest's shards
        ("offset", pa.int64()),  # of the payload in the shard, bytes
        ("size", pa.int64()),  # of the payload, bytes
        ("height", pa.int32()),  # pixels; 0 where nobody has looked
        ("width", pa.int32()),
        ("kind", pa.uint8()),  # JPEG, RAW or OTHER
        ("xxh3", pa.uint64()),  # XXH3, 64 bit, of the payload; 0 where nobody has read it
    ]
)
QUARANTINE_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("key", pa.string()),
        ("label", pa.int32()),
        ("file", pa.string()),  # where the source holds it: file, offset and size in bytes
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Class:
    """One class: its WordNet id (or folder name), which the classes are sorted by, and its words."""

    wnid: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard file: a name in the split's folder or, in an index of shards that others made, an absolute path."""

    name: str
    num_samples: int
    num_bytes: int
    sha256: str | None  # None in an index: nobody has read the whole file
    modified_ns: int | None = None  # in an index: when the file was last written, nanoseconds since 1970


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One split of a dataset."""

    split: str
    format: Format
    classes: tuple[Class, ...]
    num_samples: int
    num_quarantined: int
    storage: Storage | None  # None in an index: each sample says for itself
    shards: tuple[Shard, ...]
    statistics: Statistics | None  # None in an index and of files that were copied, unless they were asked for
    files: dict[str, str]  # sha256 of the other files of the split, by name
    digest: str  # sha256 of the source's listing and the options: what the split was made from

    @property
    def is_index(self) -> bool:
        """Whether the shards are somebody else's, listed where they lie."""
        return self.storage is None

    def to_json(self) -> str:
        """Canonical text: the same manifest gives the same bytes."""
        return json.dumps({"imagefeed": VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    def save(self, split_dir: Path) -> None:
        """Writes `manifest.json` atomically. Everything that it names must be on disk already."""
        write_atomically(split_dir / MANIFEST, self.to_json().encode())

    @staticmethod
    def load(split_dir: Path) -> "Manifest":
        """Reads `split_dir/manifest.json`.

        Raises `FileNotFoundError` where the split does not exist or was not finished, `ValueError` where the file
        is no manifest of this version.
        """
        path = Path(split_dir) / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(missing(Path(split_dir)))
        return Manifest.parse(path.read_bytes(), str(path))

    @staticmethod
    def parse(content: bytes, name: str) -> "Manifest":
        """A manifest from the bytes of its file, which is called `name` in errors. `ValueError` as in `load`."""
        try:
            record = json.loads(content)
            if record.pop("imagefeed") != VERSION:
                raise ValueError(f"it is not of version {VERSION}")
            return from_record(record)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{name} is not a manifest that can be read ({error}): convert the source again"
            ) from error


def from_record(record: dict[str, Any]) -> Manifest:
    """A manifest from its parsed JSON; unknown or missing keys and values of another type raise."""
    storage, statistics = record.pop("storage"), record.pop("statistics")
    manifest = Manifest(
        classes=tuple(Class(**each) for each in record.pop("classes")),
        storage=None if storage is None else Storage(**storage),
        shards=tuple(Shard(**each) for each in record.pop("shards")),
        statistics=None
        if statistics is None
        else Statistics(**{key: freeze(value) for key, value in statistics.items()}),
        **record,
    )
    type_check(manifest, Manifest, "")
    return manifest


def freeze(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(map(freeze, value)) if isinstance(value, list) else value


def splits_in(folder: Path) -> list[str]:
    """The finished splits below `folder`, as relative names: `train`, `val`, `tar/train`, ..."""
    found = [*folder.glob(f"*/{MANIFEST}"), *folder.glob(f"*/*/{MANIFEST}")]
    return sorted(str(path.parent.relative_to(folder)) for path in found)


def missing(folder: Path) -> str:
    """Why `folder` is not a split, and what to do."""
    if not folder.is_dir():
        return f"{folder}: no such folder"
    splits = splits_in(folder)
    if splits:
        return f"{folder} is not a split but holds some: open one of {', '.join(str(folder / s) for s in splits)}"
    return (
        f"{folder} holds no {MANIFEST} and no tar or beton: it is no dataset, or its conversion has not finished; run "
        "it again, it goes on where it stopped"
    )


# What parsers raise; NumPy's reads its header as Python.
DAMAGE = (
    *(pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError, RecursionError),
    *(SyntaxError, tokenize.TokenError),
)


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """What the parsers of a damaged `path` raise becomes a `ValueError` that names it and the cure."""
    try:
        yield
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(f"{path} cannot be read ({error}): restore it, or convert the source again") from error


def count_samples(split_dir: Path) -> int:
    """Rows of the table of samples, from its footer alone. Raises `ValueError` where it is no table."""
    path = Path(split_dir) / SAMPLES
    with parsing(path):
        return int(pq.read_metadata(path).num_rows)


def read_samples(split_dir: Path) -> pa.Table:
    """The table of samples (`SAMPLES_SCHEMA`), sorted by id. Raises `ValueError` where it is another or no table."""
    path = Path(split_dir) / SAMPLES
    with parsing(path):
        table = pq.read_table(path)
        table.validate(full=True)
    check_columns(path, table.schema)
    return table


def read_numbers(split_dir: Path, names: Iterable[str]) -> list[np.ndarray]:
    """Columns of the table of samples, without nulls, read one after the other: memory never holds more than these.

    Raises `ValueError` where it is another or no table.
    """
    path, numbers = Path(split_dir) / SAMPLES, []
    with parsing(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        for name in names if schema.equals(SAMPLES_SCHEMA) else ():
            column = file.read(columns=[name]).column(0)
            if column.null_count:
                raise ValueError(f"{name} has places without a number")
            if len(column) != file.metadata.num_rows:
                raise ValueError(f"{name} has {len(column)} rows and not {file.metadata.num_rows}")
            numbers.append(column.to_numpy())
    check_columns(path, schema)
    pa.default_memory_pool().release_unused()
    return numbers


def check_columns(path: Path, schema: pa.Schema) -> None:
    """Raises `ValueError` where a table's columns are not those of `SAMPLES_SCHEMA`."""
    if not schema.equals(SAMPLES_SCHEMA):
        raise ValueError(f"{path} has other columns than {SAMPLES_SCHEMA.names}: convert the source again")


def read_mean_image(split_dir: Path) -> np.ndarray:
    """The per-pixel mean, float64 [H, W, 3], grey levels 0 to 255. Raises `ValueError` where the file is another."""
    path = Path(split_dir) / MEAN_IMAGE
    with parsing(path):
        mean = np.load(path, allow_pickle=False)
    right = isinstance(mean, np.ndarray) and mean.dtype == np.float64 and mean.ndim == 3 and mean.shape[2] == 3
    if not right or not mean.size or not (mean.min() >= 0 and mean.max() <= 255):
        raise ValueError(f"{path} is no mean of pixels (float64 [H, W, 3], 0 to 255): restore it or convert again")
    return mean
