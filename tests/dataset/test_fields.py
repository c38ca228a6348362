"""Fields: what a source's column becomes, what cannot be one, and the values of a batch, against plain loops."""

import math
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.dataset import fields
from imagefeed.pipeline.dataset.fields import (
    ARROW,
    IN_A_BATCH,
    Field,
    FieldType,
    batch_values,
    check_names,
    check_there,
    column_of,
    read_column,
    settled,
    spell,
    widened,
)
from imagefeed.pipeline.loader.batches import PAD_LABEL, Batch

NUMBERS = st.integers(-(2**63), 2**63 - 1)
REALS = st.floats(width=64)
LISTS = st.lists(st.integers(0, 40), max_size=5)
COLUMNS: dict[FieldType, st.SearchStrategy[list[Any]]] = {
    "int64": st.lists(NUMBERS, min_size=1, max_size=9),
    "float64": st.lists(REALS, min_size=1, max_size=9),
    "list<int64>": st.lists(LISTS, min_size=1, max_size=9),
    "list<float64>": st.integers(0, 3).flatmap(lambda size: st.lists(st.lists(REALS, min_size=size, max_size=size))),
    "string": st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=9),
}


def table_of(values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    column = column_of(values, "F") if kind is None else pa.array(values, kind)
    return pa.table({"key": [f"key-{row}" for row in range(len(values))], "f": column})


def twin(type_name: str, size: int | None, value: Any) -> Any:
    """One row of a batch, by a plain loop; None is a row that pads."""
    if type_name == "list<int64>":
        return [int(number in (value or ())) for number in range(size or 0)]
    missing = {"int64": -100, "float64": math.nan, "list<float64>": [math.nan] * (size or 0), "string": ""}
    return missing[type_name] if value is None else value


@pytest.mark.parametrize("type_name", get_args(FieldType))
@given(data=st.data())
def test_a_batch_has_the_values_of_its_rows(type_name: FieldType, data: st.DataObject) -> None:
    values = data.draw(COLUMNS[type_name].filter(len))
    chunks = [pa.array(values[:2], ARROW[type_name]), pa.array(values[2:], ARROW[type_name])]
    field, tables = settled("f", {"train": table_of(values, ARROW[type_name])}, "SRC")
    assert field.type == type_name and tables["train"]["f"].type == ARROW[type_name]
    column = read_column(field, pa.chunked_array(chunks))
    rows = np.array(data.draw(st.lists(st.integers(-1, len(values) - 1), max_size=12)), np.int64)
    found = batch_values(column, rows, PAD_LABEL)
    expected = [twin(type_name, field.size, None if row < 0 else values[row]) for row in rows.tolist()]
    if isinstance(found, list):
        assert found == expected
    else:
        dtypes = {"int64": np.int64, "float64": np.float64, "list<int64>": np.uint8, "list<float64>": np.float64}
        width = [] if field.size is None else [field.size]
        assert found.dtype == dtypes[type_name] and found.shape == (len(rows), *width)
        assert np.array_equal(found, np.array(expected, found.dtype).reshape(found.shape), equal_nan=True)


@pytest.mark.parametrize(
    ("train", "val", "field", "stored"),
    [
        ([True, False], [False], Field(type="int64", size=None), [1, 0]),
        ([1, 2], [0.5, None], Field(type="float64", size=None), [1.0, 2.0]),
        ([[1], []], [[4, 2]], Field(type="list<int64>", size=5), [[1], []]),
        ([[], []], [[True]], Field(type="list<int64>", size=2), [[], []]),
        ([[1, 2]], [[0.5, 1]], Field(type="list<float64>", size=2), [[1.0, 2.0]]),
        (["a", ""], ["b"], Field(type="string", size=None), ["a", ""]),
    ],
)
def test_type_and_size_are_those_of_all_splits(train: list, val: list, field: Field, stored: list) -> None:
    found, tables = settled("f", {"train": table_of(train), "val": table_of(val)}, "SRC")
    assert found == field and tables["train"]["f"].to_pylist() == stored
    assert tables["val"]["f"].type == tables["train"]["f"].type == ARROW[field.type]


def test_a_missing_real_number_is_nan() -> None:
    for values in ([0.5, None], [[0.5], [None]]):
        field, tables = settled("f", {"train": table_of(values)}, "SRC")
        numbers = batch_values(read_column(field, tables["train"]["f"]), np.arange(2), 0)
        assert np.array_equal(np.ravel(numbers), [0.5, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ([1, None], [2], "SRC: sample key-1 of train: its f is missing: give it one, .* real numbers may lack some"),
        (["a", None], ["b"], "SRC: sample key-1 of train: its f is missing: give it one, or leave the sample out$"),
        ([[1]], [[2], None], "sample key-1 of val: its f is missing"),
        ([[1], [2, -1]], [[0]], "sample key-1 of train: its f has a number that is missing or not from 0 to 1048575"),
        ([[1], [None]], [[0]], "sample key-1 of train: its f has a number that is missing or not from 0"),
        ([[1], [1 << 20]], [[0]], "sample key-1 of train: its f has a number that is missing or not from 0"),
        ([[0.5, 1], [1]], [[0.5]], "sample key-1 of train: its f has not as many numbers as that of others, 2"),
        ([[0.5, 1]], [[0.5]], "sample key-0 of val: its f has not as many numbers as that of others, 2"),
        (["a"], [1], "SRC: a field has not the same type everywhere"),
        ([2**60 + 1], [0.5], "SRC: a field has not the same type everywhere"),
        ([None], [None], "SRC: field f has not one value"),
        ([[]], [[]], "SRC: field f has not one value"),
    ],
)
def test_what_a_field_cannot_have_is_refused_with_the_sample(train: list, val: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settled("f", {"train": table_of(train), "val": table_of(val)}, "SRC")


def test_more_text_than_arrow_counts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "MOST_TEXT", 100)
    settled("f", {"train": table_of(["a" * 40])}, "SRC")
    with pytest.raises(ValueError, match="SRC: field f has more than .* of text in val: shorten it"):
        settled("f", {"train": table_of(["a"]), "val": table_of(["a" * 101])}, "SRC")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([1], pa.uint8()), "int64"),
        (pa.array([1.5], pa.float32()), "float64"),
        (pa.array(["a"], pa.large_string()), "string"),
        (pa.array(["a", "a"]).dictionary_encode(), "string"),
        (pa.array([[1]], pa.large_list(pa.int16())), "list<int64>"),
        (pa.array([[1.5, 2]], pa.list_(pa.float32(), 2)), "list<float64>"),
    ],
)
def test_narrow_types_are_widened(column: pa.Array, kind: FieldType) -> None:
    assert widened(column, "F").type == ARROW[kind] and widened(column, "F").to_pylist() == column.to_pylist()


@pytest.mark.parametrize("column", [pa.array([{"a": 1}]), pa.array([b"a"]), pa.array([["a"]]), pa.array([[[1]]])])
def test_other_types_are_refused(column: pa.Array) -> None:
    with pytest.raises(ValueError, match="^F is of type .*: a field is one of int64, float64, list<int64>"):
        widened(column, "F")


def test_values_beyond_64_bits_or_of_several_types_are_refused() -> None:
    with pytest.raises(ValueError, match="F cannot be stored as int64"):
        widened(pa.array([2**64 - 1], pa.uint64()), "F")
    for values in ([2**70], [1, "a"], [[1], 1]):
        with pytest.raises(ValueError, match="F is not of one type"):
            column_of(values, "F")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a"], "field a: the table of samples or a batch has something of this name"),
        (["key"], "field key: the table"),
        (["2d"], "field '2d': a batch has its fields as attributes"),
        (["_a"], "attributes"),
        (["class"], "attributes"),
        (["a b"], "attributes"),
        ([""], "attributes"),
    ],
)
def test_a_name_that_a_batch_cannot_have_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_names(names, ["key"])


def test_all_names_of_a_batch_are_taken() -> None:
    public = {name for name in dir(Batch) if not name.startswith("_")}
    assert set(IN_A_BATCH) == public


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    check_there(["score"], ["tags", "score"], "SRC", "column")
    with pytest.raises(ValueError, match=r"SRC has no column scroe \(did you mean score\?\): it has tags, score"):
        check_there(["scroe"], ["tags", "score"], "SRC", "column")
    with pytest.raises(ValueError, match="SRC has no column score: it has none"):
        check_there(["score"], [], "SRC", "column")


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        (Field(type="int64", size=None), [1, None], "row 1 is missing"),
        (Field(type="list<int64>", size=3), [[0], [3]], "number beyond 3"),
        (Field(type="list<int64>", size=3), [[0], [-2]], "row 1 has a number"),
        (Field(type="list<float64>", size=2), [[0, 1], [1]], "row 1 has not as many"),
        (Field(type="string", size=None), ["a", None], "row 1 is missing"),
    ],
)
def test_a_table_that_holds_something_else_is_refused(field: Field, values: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_column(field, pa.chunked_array([pa.array(values, ARROW[field.type])]))


def test_what_is_hashed_is_every_value_and_no_chunk() -> None:
    field = Field(type="float64", size=None)
    whole = pa.chunked_array([[0.5, math.nan, 2.0]])
    parts = pa.chunked_array([pa.array([0.5]), pa.array([math.nan, 2.0])])
    assert b"".join(spell(field, whole)) == b"".join(spell(field, parts)) == b"('float64', None)[0.5, NaN, 2.0]"
    other = pa.chunked_array([[0.5, math.nan, 2.5]])
    assert b"".join(spell(field, other)) != b"".join(spell(field, whole))
