"""Columns of a WebDataset tar: members as text and keys of json, as a stock WebDataset pipeline has them."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset

from imagefeed.pipeline.sources.open_source import open_source
from tests.support.field_sources import webdataset as write_tars
from tests.support.layouts import add
from tests.support.pictures import encoded, picture

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
IMAGE = encoded(picture(1, 20, 20))


def tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in members:
            add(out, name, data)
    return path


def test_columns_are_those_of_a_stock_pipeline(tmp_path: Path) -> None:
    """Keys, nested folders of them and suffixes in capitals are WebDataset's own."""
    folder = Path(write_tars(tmp_path / "tars"))
    source = open_source(folder / "train-0.tar", ("score", "age", "tags", "box", "caption"))
    stock = webdataset.WebDataset(str(folder / "train-0.tar"), shardshuffle=False)
    expected = {}
    for sample in stock:
        record = json.loads(sample["json"])
        expected[sample["__key__"]] = [record[name] for name in ("age", "tags", "box")] + [sample["caption"].decode()]
    rows = source.splits["train"].to_pylist()
    assert {row["key"]: [row[name] for name in ("age", "tags", "box", "caption")] for row in rows} == expected


def test_a_member_comes_before_a_key_and_json_is_the_whole(tmp_path: Path) -> None:
    said = json.dumps({"label": 0, "txt": 3, "x": 5}).encode()
    path = tar(tmp_path / "a.tar", ("d/a.jpg", IMAGE), ("d/a.TXT", "Möwe".encode()), ("d/a.json", said))
    table = open_source(path, ("txt", "json", "x")).splits["train"]
    assert table.select(["key", "txt", "json", "x"]).to_pylist() == [
        {"key": "d/a", "txt": "Möwe", "json": said.decode(), "x": 5}
    ]


def record(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("second", "wanted", "message"),
    [
        ([("b.cls", b"0"), ("b.json", record({"x": 1}))], "y", "a.tar has no column y: it has cls, json, x"),
        ([("b.cls", b"0"), ("b.json", b"{")], "x", "a.tar: the member json of sample b is no JSON"),
        ([("b.cls", b"0"), ("b.json", b"[1]")], "x", "a.tar: the member json of sample b is no JSON object"),
        ([("b.cls", b"0"), ("b.json", b"\xff")], "json", "a.tar: sample b: b.json is no text"),
        ([("b.cls", b"0"), ("b.json", record({"x": "1"}))], "x", "a.tar: column x is not of one type"),
        ([("b.cls", b"0"), ("b.json", record({"z": 1}))], "x", "sample b of train: its x is missing"),
        ([("b.cls", b"0")], "json", "sample b of train: its json is missing"),
    ],
)
def test_what_is_wrong_is_named(second: list[tuple[str, bytes]], wanted: str, message: str, tmp_path: Path) -> None:
    first = [("a.jpg", IMAGE), ("a.cls", b"0"), ("a.json", record({"x": 1}))]
    path = tar(tmp_path / "a.tar", *first, ("b.jpg", IMAGE), *second)
    with pytest.raises(ValueError, match=message):
        open_source(path, (wanted,))


def test_shards_whose_numbers_are_whole_go_with_those_that_are_not(tmp_path: Path) -> None:
    for name, x in (("a", [1, 2]), ("b", [0.5, 1.5])):
        tar(tmp_path / f"{name}.tar", (f"{name}.jpg", IMAGE), (f"{name}.json", record({"label": 0, "x": x})))
    source = open_source(tmp_path, ("x",))
    assert source.fields["x"].type == "list<float64>" and source.splits["train"]["x"].to_pylist() == [
        [1, 2],
        [0.5, 1.5],
    ]
