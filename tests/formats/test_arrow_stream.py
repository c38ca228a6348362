"""The ranges that are found in a stream hold what pyarrow reads from it whole, whatever columns lie around."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from imagefeed.pipeline.formats.arrow_stream import Columns, batches, read_schema

rng = np.random.default_rng(0)
COUNT = 23
DATA = [rng.bytes(int(size)) for size in rng.integers(0, 90, COUNT)]
AROUND = {
    "null": pa.nulls(COUNT),
    "number": pa.array([None if row % 5 == 0 else row for row in range(COUNT)], pa.int16()),
    "truth": pa.array([row % 3 == 0 for row in range(COUNT)]),
    "text": pa.array([None if row % 7 == 0 else "é" * row for row in range(COUNT)]),
    "large": pa.array(["x" * row for row in range(COUNT)], pa.large_string()),
    "list": pa.array([[row] * (row % 3) for row in range(COUNT)]),
    "deep": pa.array([[[{"a": row, "b": [str(row)]}]] for row in range(COUNT)]),
    "fixed": pa.array([[row, row + 1] for row in range(COUNT)], pa.list_(pa.int32(), 2)),
    "dictionary": pa.array([str(row % 2) for row in range(COUNT)]).dictionary_encode(),
    "map": pa.array([[("k", row)] for row in range(COUNT)], pa.map_(pa.string(), pa.int64())),
    "time": pa.array(range(COUNT), pa.timestamp("us")),
    "bytes16": pa.array([bytes(16)] * COUNT, pa.binary(16)),
}
STRUCT = pa.array([{"bytes": data, "path": f"{row}.jpg"} for row, data in enumerate(DATA)])
IMAGES = {"struct": STRUCT, "bytes": pa.array(DATA), "large": pa.array(DATA, pa.large_binary())}


def written(table: pa.Table, path: Path, file: bool = False, **options: object) -> Path:
    """A stream of batches of seven rows, or a file of such."""
    make = pa.ipc.new_file if file else pa.ipc.new_stream
    with make(str(path), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=7)
    return path


def read(path: Path, image: str, wanted: list[str]) -> tuple[list[bytes | None], dict[str, list]]:
    size, descriptor, whole = path.stat().st_size, os.open(path, os.O_RDONLY), path.read_bytes()
    images: list[bytes | None] = []
    columns: dict[str, list] = {name: [] for name in wanted}
    try:
        schema, start = read_schema(descriptor, 0, size)
        for batch in batches(descriptor, start, size):
            cursor = Columns(descriptor, batch)
            for each in schema:
                if each.name == image:
                    found, others = cursor.images(each.type)
                    places = zip(found.offset.tolist(), found.size.tolist(), strict=True)
                    images += [None if n < 0 else whole[at : at + n] for at, n in places]
                    for name in set(others) & set(wanted):
                        columns[name] += others[name].to_pylist()
                elif each.name in wanted:
                    columns[each.name] += cursor.array(each.type).to_pylist()
                else:
                    cursor.skip(each.type)
    finally:
        os.close(descriptor)
    return images, columns


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_ranges_and_columns_are_those_of_pyarrow(image: str, file: bool, first: int, tmp_path: Path) -> None:
    names = list(AROUND)
    columns = {name: AROUND[name] for name in names[: len(names) // 2 * first]} | {"image": IMAGES[image]}
    columns |= {name: AROUND[name] for name in names}
    table = pa.table(columns)
    path = written(table, tmp_path / "a.arrow", file)
    wanted = [name for name in names if name != "dictionary"]
    images, found = read(path, "image", [*wanted, *(["path"] if image == "struct" else [])])
    assert images == DATA
    for name in wanted:
        assert found[name] == table[name].to_pylist()
    if image == "struct":
        assert found["path"] == [f"{row}.jpg" for row in range(COUNT)]


def test_a_part_of_a_table_is_that_part(tmp_path: Path) -> None:
    table = pa.table({"image": STRUCT, "n": AROUND["number"]}).slice(5, 11)
    images, found = read(written(table, tmp_path / "a.arrow"), "image", ["n"])
    assert images == DATA[5:16] and found["n"] == table["n"].to_pylist()


def test_null_is_no_empty_image(tmp_path: Path) -> None:
    values = [None, {"bytes": None, "path": "x"}, {"bytes": b"", "path": "x"}, {"bytes": b"a", "path": None}] * 3
    images, _ = read(written(pa.table({"image": pa.array(values)}), tmp_path / "a.arrow"), "image", [])
    assert images == [None, None, b"", b"a"] * 3


def test_what_is_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compressed: write it without compression"):
        read(written(pa.table({"image": STRUCT}), tmp_path / "a.arrow", compression="zstd"), "image", [])
    path = written(pa.table({"image": STRUCT, "d": AROUND["dictionary"]}), tmp_path / "b.arrow")
    with pytest.raises(ValueError, match="cast it to string"):
        read(path, "image", ["d"])
    views = pa.table({"v": pa.array(["a"] * COUNT, pa.string_view()), "image": STRUCT})
    with pytest.raises(ValueError, match="string_view, which is not read: leave it out"):
        read(written(views, tmp_path / "c.arrow"), "image", [])
    (tmp_path / "d.arrow").write_bytes(b"\xff\xff\xff\xff\x00\x00\x00\x00")
    with pytest.raises(ValueError, match="does not begin with a schema"):
        read(tmp_path / "d.arrow", "image", [])
