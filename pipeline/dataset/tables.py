"""The tables beside a split's shards, and how to read them: a damaged file is an error that names it."""

import tokenize
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.fields import ARROW, Field, FieldColumn, check_names, read_column
from imagefeed.pipeline.dataset.manifest import MEAN_IMAGE, SAMPLES
from imagefeed.pipeline.runtime.os_errors import explained

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
NO_FIELDS: Mapping[str, Field] = MappingProxyType({})

# What parsers raise; NumPy's reads its header as Python.
DAMAGE = (
    *(pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError, RecursionError),
    *(SyntaxError, tokenize.TokenError),
)


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """What the parsers of a damaged `path` raise becomes a `ValueError` that names it and the cure.

    Raises `OSError` with the path where the file cannot be read at all.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise explained(error, "read", path) from error
        raise ValueError(f"{path} cannot be read ({error}): restore it, or convert the source again") from error


def count_samples(split_dir: Path) -> int:
    """Rows of the table of samples, from its footer alone. Raises `ValueError` where it is no table."""
    path = Path(split_dir) / SAMPLES
    with parsing(path):
        return int(pq.read_metadata(path).num_rows)


def schema_of(fields: Mapping[str, Field]) -> pa.Schema:
    """Of the table of samples of a split with these fields: they follow the columns of every table, sorted by name.

    Raises `ValueError` for a name that no field can have.
    """
    check_names(fields, SAMPLES_SCHEMA.names)
    return pa.schema([*SAMPLES_SCHEMA, *(pa.field(name, ARROW[fields[name].type]) for name in sorted(fields))])


def read_samples(split_dir: Path, fields: Mapping[str, Field] = NO_FIELDS) -> pa.Table:
    """The table of samples (`schema_of`), sorted by id. Raises `ValueError` where it is another or no table."""
    path = Path(split_dir) / SAMPLES
    with parsing(path):
        table = pq.read_table(path)
        table.validate(full=True)
    check_columns(path, table.schema, fields)
    return table.cast(schema_of(fields))  # in which parts of a type may have other names, and so other bytes on disk


def read_numbers(split_dir: Path, names: Iterable[str], fields: Mapping[str, Field] = NO_FIELDS) -> list[np.ndarray]:
    """Columns of the table of samples, without nulls, read one after the other: memory never holds more than these.

    Raises `ValueError` where it is another or no table.
    """
    path, numbers = Path(split_dir) / SAMPLES, []
    with parsing(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        for name in names if schema.equals(schema_of(fields)) else ():
            column = file.read(columns=[name]).column(0)
            if column.null_count:
                raise ValueError(f"{name} has places without a number")
            if len(column) != file.metadata.num_rows:
                raise ValueError(f"{name} has {len(column)} rows and not {file.metadata.num_rows}")
            numbers.append(column.to_numpy())
    check_columns(path, schema, fields)
    pa.default_memory_pool().release_unused()
    return numbers


def read_fields(split_dir: Path, names: Iterable[str], fields: Mapping[str, Field]) -> dict[str, FieldColumn]:
    """The fields `names`, each one of `fields`. Raises `ValueError` where the table does not hold what they say."""
    path = Path(split_dir) / SAMPLES
    with parsing(path), pq.ParquetFile(path) as file:
        check_columns(path, file.schema_arrow, fields)
        found = {}
        for name in names:
            column = file.read(columns=[name]).column(0)
            try:
                found[name] = read_column(fields[name], column)
            except ValueError as error:
                raise ValueError(f"field {name}: {error}") from error
        return found


def check_columns(path: Path, schema: pa.Schema, fields: Mapping[str, Field]) -> None:
    """Raises `ValueError` where a table's columns are not those of a split with these fields."""
    expected = schema_of(fields)
    if not schema.equals(expected):
        raise ValueError(f"{path} has other columns than {expected.names}: convert the source again")


def read_mean_image(split_dir: Path) -> np.ndarray:
    """The per-pixel mean, float64 [H, W, 3], grey levels 0 to 255. Raises `ValueError` where the file is another."""
    path = Path(split_dir) / MEAN_IMAGE
    with parsing(path):
        mean = np.load(path, allow_pickle=False)
    right = isinstance(mean, np.ndarray) and mean.dtype == np.float64 and mean.ndim == 3 and mean.shape[2] == 3
    if not right or not mean.size or not (mean.min() >= 0 and mean.max() <= 255):
        raise ValueError(f"{path} is no mean of pixels (float64 [H, W, 3], 0 to 255): restore it or convert again")
    return mean
