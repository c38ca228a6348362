"""The same images with the same fields in every kind of source that has columns, one image damaged among them."""

import csv
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.layouts import add
from tests.support.pictures import encoded, picture

COUNTS = {"train": 23, "val": 6}
FIELDS = ("score", "age", "tags", "box", "caption")
DAMAGED = 4  # in order of the keys of train: it goes to quarantine
NUM_TAGS = 9  # the largest tag, which val alone has, and 1


def key_of(row: int) -> str:
    return f"image-{row:03d}"


def label_of(row: int) -> int:
    return [0, 1, 1, 2, 1, 0, 0][row % 7]


def values(split: str, row: int) -> dict[str, Any]:
    """The fields of one sample, a function of the split and its place in the order of the keys."""
    number = 100 * (split == "val") + row
    last = [NUM_TAGS - 1] if split == "val" and row == 2 else []
    return {
        "score": None if row == 3 else number / 7,
        "age": number - 50,
        "tags": sorted({number * 5 % 7, number * 3 % 5})[: row % 3] + last,
        "box": [number / 3, 0.0, -number / 9],
        "caption": "" if row == 1 else f'Bild {number}, "groß"\nund {"x" * (row % 4)}',
    }


def image(split: str, row: int) -> bytes:
    data = encoded(picture(1000 * (split == "val") + row, 40 + row, 50), quality=90)
    return data[: len(data) // 3] if (split, row) == ("train", DAMAGED) else data


def order(split: str) -> list[int]:
    """Rows as a source has them: in no order."""
    return np.random.default_rng(len(split)).permutation(COUNTS[split]).tolist()


def parquet(out: Path) -> str:
    """Two files a split, whose columns are of narrow types."""
    out.mkdir()
    for split in COUNTS:
        for part, rows in enumerate(np.array_split(order(split), 2)):
            found = [values(split, row) for row in rows.tolist()]
            columns = {name: [each[name] for each in found] for name in FIELDS}
            kinds = {"score": pa.float64(), "age": pa.int16(), "tags": pa.list_(pa.uint8())}
            kinds |= {"box": pa.list_(pa.float64(), 3), "caption": pa.large_string()}
            pictures = [{"bytes": image(split, row), "path": f"{key_of(row)}.jpg"} for row in rows.tolist()]
            table = {name: pa.array(columns[name], kinds[name]) for name in FIELDS}
            table |= {"image": pa.array(pictures), "label": pa.array([label_of(row) for row in rows.tolist()])}
            pq.write_table(pa.table(table), out / f"{split}-{part}.parquet")
    return str(out)


def webdataset(out: Path) -> str:
    """Two tars a split; the caption is a member of its own, all else is in the member json."""
    out.mkdir()
    for split in COUNTS:
        for part, rows in enumerate(np.array_split(order(split), 2)):
            with tarfile.open(out / f"{split}-{part}.tar", "w") as tar:
                for row in rows.tolist():
                    found = values(split, row)
                    add(tar, f"{key_of(row)}.caption", found.pop("caption").encode())
                    add(tar, f"{key_of(row)}.jpg", image(split, row))
                    add(tar, f"{key_of(row)}.json", json.dumps({"label": label_of(row), **found}).encode())
    return str(out)


def write_images(out: Path) -> None:
    for split, count in COUNTS.items():
        (out / split).mkdir(parents=True)
        for row in range(count):
            (out / split / f"{key_of(row)}.jpg").write_bytes(image(split, row))


def json_lines(out: Path) -> str:
    write_images(out)
    for split in COUNTS:
        rows = (
            {"label": label_of(row), "file_name": f"{split}/{key_of(row)}.jpg", **values(split, row)}
            for row in order(split)
        )
        (out / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{out}/*.jsonl"


def csv_file(out: Path, suffix: str = "csv", delimiter: str = ",") -> str:
    """Cells have no lists."""
    write_images(out)
    for split in COUNTS:
        with open(out / f"{split}.{suffix}", "w", newline="") as file:
            writer = csv.DictWriter(file, ("path", "label", "score", "age", "caption"), delimiter=delimiter)
            writer.writeheader()
            for row in order(split):
                found = {name: each for name, each in values(split, row).items() if name not in ("tags", "box")}
                writer.writerow({"path": f"{split}/{key_of(row)}.jpg", "label": label_of(row), **found})
    return f"{out}/*.{suffix}"


def tsv_file(out: Path) -> str:
    return csv_file(out, "tsv", "\t")


SOURCES: dict[str, Callable[[Path], str]] = {
    each.__name__: each for each in (parquet, webdataset, json_lines, csv_file, tsv_file)
}
