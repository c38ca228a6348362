"""Lists with named columns: what a row says, which type a column of cells has, and what is wrong by row."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.sources.list_table import cells_column, parse_list
from imagefeed.pipeline.sources.open_source import open_source
from tests.support.pictures import encoded, picture


def as_csv(cells: list[str]) -> bytes:
    """One column of cells, each in quotes."""
    rows = (f'a.jpg,0,"{cell.replace(chr(34), 2 * chr(34))}"\r\n' for cell in cells)
    return ("path,label,x\r\n" + "".join(rows)).encode("utf-8", "surrogateescape")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6), min_size=1, max_size=5))
def test_cells_of_csv_come_back(cells: list[str]) -> None:
    paths, labels, columns = parse_list(as_csv(cells), "list.csv", ["x"])
    assert (paths, labels) == (["a.jpg"] * len(cells), ["0"] * len(cells))
    if columns["x"].type == pa.string():
        assert columns["x"].to_pylist() == cells
    else:
        assert columns["x"].to_pylist() == [float(cell) if cell else None for cell in cells]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2"], pa.int64(), [1, -2]),
        (["1", ""], pa.int64(), [1, None]),
        (["1", "2.5", ""], pa.float64(), [1.0, 2.5, None]),
        (["1e3", "inf"], pa.float64(), [1000.0, float("inf")]),
        (["1", "one"], pa.string(), ["1", "one"]),
        (["", ""], pa.string(), ["", ""]),
        (["", "a"], pa.string(), ["", "a"]),
        (["1_0"], pa.string(), ["1_0"]),
        (["9223372036854775808"], pa.float64(), [2.0**63]),
    ],
)
def test_a_column_of_cells_is_of_numbers_if_all_of_them_are(cells: list[str], kind: Any, values: list[Any]) -> None:
    column = cells_column(cells, "x")
    assert column.type == kind and column.to_pylist() == values


def test_the_three_forms_say_the_same() -> None:
    rows = [{"file_name": "a b.jpg", "cls": "ant", "x": 1}, {"file_name": "c.jpg", "cls": "bee", "x": 2}]
    lines = "\ufeff" + "".join(json.dumps(row) + "\n\n" for row in rows)
    forms = {
        "l.jsonl": lines,
        "l.csv": "file_name,cls,x\na b.jpg,ant,1\nc.jpg,bee,2\n",
        "L.TSV": "x\tcls\tfile_name\n1\tant\ta b.jpg\n2\tbee\tc.jpg\n",
    }
    for name, text in forms.items():
        paths, labels, columns = parse_list(text.encode(), name, ["x"])
        assert (paths, labels) == (["a b.jpg", "c.jpg"], ["ant", "bee"])
        assert columns["x"].equals(pa.array([1, 2]))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "l.csv",
            "path,x\na,1\n",
            "l.csv has the columns path, x: it needs one of label, cls, .*such as --label path",
        ),
        ("l.csv", "path,label,x\na,0,1\nb,1\n", "l.csv: row 2 has not as many cells"),
        ("l.csv", "path,label,x\na,0,1,2\n", "l.csv: row 1 has not as many cells"),
        ("l.csv", "path,label,x\n,0,1\n", "l.csv: row 1 has no path"),
        ("l.csv", 'path,label,x\na,0,"1\n', "l.csv cannot be read"),
        ("l.csv", "path,label,y\na,0,1\n", "l.csv has no column x.*: it has y"),
        (
            "l.jsonl",
            '{"path": "a", "label": 0, "x": 1}\n{"path": "b", "x": 1}\n',
            "l.jsonl: row 2 has no path .* or no label",
        ),
        ("l.jsonl", '{"path": "a", "label": true, "x": 1}\n', "l.jsonl: row 1 has no path"),
        ("l.jsonl", '{"path": "a",\n', "l.jsonl: line 1 is no JSON"),
        ("l.jsonl", "[1]\n", "l.jsonl: line 1 is no JSON object"),
        ("l.jsonl", '{"path": "a", "label": 0, "x": {"y": 1}}\n', "l.jsonl: column x is of type struct"),
    ],
)
def test_what_is_wrong_is_named(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_list(text.encode(), name, ["x"])


def test_a_list_with_columns_is_taken_where_it_is_named_alone(tmp_path: Path) -> None:
    """In a folder it is a file like any other: what was recognised before it could be read is so still."""
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(encoded(picture(1, 20, 20)))
    (tmp_path / "train.csv").write_text("path,label\n./bee/0.jpg,x\nant/0.jpg,y\n")
    assert open_source(tmp_path).kind == "folder"
    source = open_source(tmp_path / "train.csv")
    assert source.kind == "list" and [each.wnid for each in source.classes] == ["x", "y"]
    assert source.splits["train"].select(["key", "label"]).to_pylist() == [
        {"key": "ant/0", "label": 1},
        {"key": "bee/0", "label": 0},
    ]
    (tmp_path / "empty.csv").write_text("path,label\n")
    with pytest.raises(ValueError, match="names not one image"):
        open_source(tmp_path / "empty.csv")
