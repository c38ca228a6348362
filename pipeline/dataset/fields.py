"""Fields: what a sample says beside its label, such as a score, tags or a caption, in five types.

| type | from columns of | in a batch of B | rows that pad |
|---|---|---|---|
| int64 | integers, booleans | int64 [B] | as labels |
| float64 | real numbers | float64 [B] | NaN |
| list<int64> | lists of integers from 0 on | uint8 [B, size], 1 where the list has the number | 0 |
| list<float64> | lists of as many numbers | float64 [B, size] | NaN |
| string | text | a list of B texts | "" |
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from keyword import iskeyword
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.formats.listing import MOST_CLASSES

FieldType = Literal["int64", "float64", "list<int64>", "list<float64>", "string"]
ARROW: dict[FieldType, pa.DataType] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "list<int64>": pa.list_(pa.int64()),
    "list<float64>": pa.list_(pa.float64()),
    "string": pa.string(),
}
NAME_OF: dict[pa.DataType, FieldType] = {kind: name for name, kind in ARROW.items()}
IN_A_BATCH = ("images", "labels", "sample_ids", "valid", "count", "index")  # what a batch has by these names already
MOST_TEXT = 1 << 31  # bytes of one field of one split: Arrow counts them in 32 bits
SLICE = 1 << 16  # rows that are Python objects at once


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a split."""

    type: FieldType
    size: int | None  # of lists: columns in a batch, the largest number + 1 or the length; else None


class FieldColumn(NamedTuple):
    """The values of a field, n samples in the order of the table."""

    field: Field
    values: np.ndarray | pa.Array  # int64 or float64 [n], float64 [n, size], text [n]; list<int64>: int64, all lists
    starts: np.ndarray  # int64 [n + 1]: where each list begins in `values`; empty for the other types


def check_names(names: Iterable[str], taken: Sequence[str]) -> None:
    """Raises `ValueError` for a name that a batch cannot have, or that comes twice or is one of `taken`."""
    known = {*taken, *IN_A_BATCH}
    for name in names:
        if name in known:
            raise ValueError(
                f"field {name}: the table of samples or a batch has something of this name: rename the column"
            )
        if not name.isidentifier() or iskeyword(name) or name.startswith("_"):
            raise ValueError(
                f"field {name!r}: a batch has its fields as attributes, so the name must be one in Python (letters, "
                "digits, not a digit or _ first): rename the column in the source"
            )
        known.add(name)


def check_there(wanted: Iterable[str], there: Sequence[str], where: str, what: str) -> None:
    """Raises `ValueError` for the first name that is not `there`, with one that may be meant and all that are."""
    for name in wanted:
        if name not in there:
            near = get_close_matches(name, there, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"{where} has no {what} {name}{hint}: it has {', '.join(there) or 'none'}")


def widened(column: pa.ChunkedArray | pa.Array, what: str) -> pa.ChunkedArray | pa.Array:
    """A source's column in the type of `ARROW` that is of its kind; one without a value as null, or a list of such.

    Raises `ValueError` that begins with `what` for a type that no field has, and for integers beyond 64 bits.
    """
    kind = wide_type(column.type)
    if kind is None:
        raise ValueError(f"{what} is of type {column.type}: a field is one of {', '.join(ARROW)}")
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise ValueError(f"{what} cannot be stored as {kind} ({error})") from error


def wide_type(kind: pa.DataType) -> pa.DataType | None:
    """The type in which values of `kind` are stored; null for null, None where they cannot be."""
    if pa.types.is_dictionary(kind):
        return wide_type(kind.value_type)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = wide_type(kind.value_type)
        return pa.list_(inner) if inner in (pa.int64(), pa.float64(), pa.null()) else None
    return kind if pa.types.is_null(kind) else None


def column_of(values: Sequence[object], what: str) -> pa.Array:
    """Python's values as a column, `widened`. Raises `ValueError` that begins with `what` where they are of no one
    type."""
    try:
        column = pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"{what} is not of one type ({error})") from error
    return widened(column, what)


def json_object(text: str, what: str) -> dict[str, Any]:
    """The keys and values of a text in JSON. Raises `ValueError` that begins with `what` where it is no object."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is no JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError(f"{what} is no JSON object, {{...}}")
    return record


def joined(tables: Sequence[pa.Table], where: str) -> pa.Table:
    """Tables one behind the other; integers become real numbers where others have these.

    Raises `ValueError` that begins with `where` for columns of types that do not go together.
    """
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"{where}: a field has not the same type everywhere ({error})") from error


def settled(name: str, splits: Mapping[str, pa.Table], where: str) -> tuple[Field, dict[str, pa.Table]]:
    """The field that the column `name` of all splits is, and the tables with the column as it is stored.

    The type and the size are those of all splits together, so that their batches are alike. A missing real number
    becomes NaN. Raises `ValueError` with the sample for any other value that is missing or cannot be, and where the
    splits do not agree.
    """
    kind = joined([table.select([name]) for table in splits.values()], where).schema.field(name).type
    if kind not in NAME_OF:
        raise ValueError(f"{where}: field {name} has not one value: leave it out")
    type_name, tables = NAME_OF[kind], {}
    sizes: list[int] = []
    for split, table in splits.items():
        if type_name == "string" and table[name].nbytes > MOST_TEXT:
            raise ValueError(
                f"{where}: field {name} has more than {MOST_TEXT >> 30} GiB of text in {split}: shorten it"
            )
        column = table[name].cast(kind).combine_chunks()
        if type_name == "float64":
            column = column.fill_null(float("nan"))
        numbers = list_numbers(column) if type_name.startswith("list") else None
        for wrong, why in faults(column, numbers, type_name, sizes[0] if sizes else None):
            if wrong.any():
                key = table["key"][int(wrong.argmax())]
                raise ValueError(f"{where}: sample {key} of {split}: its {name} {why}")
        if numbers is not None:
            sizes.append(size_of(numbers, type_name))
        tables[split] = table.set_column(table.schema.get_field_index(name), pa.field(name, kind), column)
    return Field(type=type_name, size=max(sizes, default=None)), tables


class Lists(NamedTuple):
    """n lists of numbers."""

    starts: np.ndarray  # int64 [n + 1]: where each begins in `values`
    values: np.ndarray  # int64 or float64; NaN or -1 where a number is missing


def list_numbers(column: pa.Array | pa.ChunkedArray) -> Lists:
    """The numbers of a column of lists; one that is missing is an empty list."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(column)
    flat = flat.fill_null(-1 if flat.type == pa.int64() else float("nan"))
    return Lists(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), flat.to_numpy(zero_copy_only=False))


def size_of(numbers: Lists, type_name: FieldType) -> int:
    """Columns in a batch of such lists."""
    if type_name == "list<int64>":
        return int(numbers.values.max(initial=-1)) + 1
    return int(np.diff(numbers.starts).max(initial=0))


def faults(
    column: pa.Array, numbers: Lists | None, type_name: FieldType, size: int | None
) -> Iterator[tuple[np.ndarray, str]]:
    """Which values (bool [n] each) a field cannot have, and why; lists of real numbers have `size`, or the first's."""
    cure = "give it one, or leave the sample out"
    if type_name == "int64":
        cure += "; a column of real numbers may lack some, which are NaN"
    yield column.is_null().to_numpy(zero_copy_only=False), f"is missing: {cure}"
    if numbers is None:
        return
    lengths = np.diff(numbers.starts)
    if type_name == "list<int64>":
        beyond = (numbers.values < 0) | (numbers.values >= MOST_CLASSES)
        why = f"has a number that is missing or not from 0 to {MOST_CLASSES - 1}: number what it stands for from 0 on"
        yield np.isin(np.arange(len(lengths)), np.repeat(np.arange(len(lengths)), lengths)[beyond]), why
    else:
        expected = int(lengths[0]) if size is None else size
        yield (
            lengths != expected,
            f"has not as many numbers as that of others, {expected}: make all lists of one length",
        )


def spell(field: Field, column: pa.ChunkedArray) -> Iterator[bytes]:
    """What is hashed of a field: its type, its size and every value, whatever the chunks."""
    yield f"({field.type!r}, {field.size!r})".encode()
    for start in range(0, len(column), SLICE):
        yield json.dumps(column.slice(start, SLICE).to_pylist()).encode()


def read_column(field: Field, column: pa.ChunkedArray) -> FieldColumn:
    """A column of the table of samples, proved to be what `field` says. Raises `ValueError` where it is not."""
    numbers = list_numbers(column) if field.type.startswith("list") else None
    for wrong, why in faults(column.combine_chunks(), numbers, field.type, field.size):
        if wrong.any():
            raise ValueError(f"row {int(wrong.argmax())} {why}")
    none = np.zeros(0, np.int64)
    if field.type == "string":
        return FieldColumn(field, column.cast(pa.large_string()).combine_chunks(), none)
    if numbers is None:
        return FieldColumn(field, column.to_numpy(), none)
    if field.type == "list<float64>":
        return FieldColumn(field, numbers.values.reshape(len(column), field.size or 0), none)
    if size_of(numbers, field.type) > (field.size or 0):
        raise ValueError(f"a list has a number beyond {field.size}")
    return FieldColumn(field, numbers.values, numbers.starts)


def concatenated(columns: Sequence[FieldColumn], name: str, owners: Sequence[str]) -> FieldColumn:
    """A field of several splits, one behind the other; lists of integers get the size of the largest.

    Raises `ValueError` with two of the `owners` where they have the field in another type or length.
    """
    (kind, size), owner = (columns[0].field.type, columns[0].field.size), owners[0]
    for (field, _, _), other in zip(columns, owners, strict=True):
        if field.type != kind or (kind == "list<float64>" and field.size != size):
            one, another = (f"{each.type} of {each.size or 1}" for each in (columns[0].field, field))
            raise ValueError(f"field {name} is {one} in {owner} and {another} in {other}: it must be the same in both")
    whole = Field(type=kind, size=size if size is None else max(each.field.size or 0 for each in columns))
    if kind == "string":
        return columns[0]._replace(field=whole, values=pa.concat_arrays([each.values for each in columns]))
    starts = columns[0].starts
    if kind == "list<int64>":
        lengths = np.concatenate([np.diff(each.starts) for each in columns])
        starts = np.concatenate([[0], np.cumsum(lengths)])
    return FieldColumn(whole, np.concatenate([each.values for each in columns]), starts)


def batch_values(column: FieldColumn, rows: np.ndarray, pad: int) -> np.ndarray | list[str]:
    """The values of the samples `rows` (int64 [B], -1 where a row pads) as a batch has them, see above.

    `pad` is the integer of rows that pad.
    """
    there, (field, values, starts) = rows >= 0, column
    if field.type == "string":
        texts = iter(values.take(pa.array(rows[there])).to_pylist())
        return [next(texts) if real else "" for real in there.tolist()]
    if field.type == "list<int64>":
        hot = np.zeros((len(rows), field.size or 0), np.uint8)
        lengths = np.diff(starts)[rows[there]]
        begins = np.repeat(starts[rows[there]] - np.cumsum(lengths) + lengths, lengths)
        hot[np.repeat(np.flatnonzero(there), lengths), values[begins + np.arange(lengths.sum())]] = 1
        return hot
    filled = np.full((len(rows), *values.shape[1:]), pad if field.type == "int64" else np.nan, values.dtype)
    filled[there] = values[rows[there]]
    return filled
