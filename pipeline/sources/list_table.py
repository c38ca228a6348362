"""A list of images with named columns: CSV or TSV whose first line has the names, or JSON Lines.

The column `path` (or `file_name`, `image`) has the paths, `label` (or `cls`) the labels; others can become fields. In
CSV and TSV a column is of integers or of real numbers where each of its cells is one or empty, else of text.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.fields import check_there, column_of, json_object
from imagefeed.pipeline.files.text import decode_text, escaped, lines_of

DELIMITERS = {"csv": ",", "tsv": "\t"}
PATHS, LABELS = ("path", "file_name", "image"), ("label", "cls")


def parse_list(content: bytes, name: str, fields: Sequence[str]) -> tuple[list[str], list[str], dict[str, pa.Array]]:
    """Paths, labels and the columns `fields` of the list `name`. Raises `ValueError` with the row that is wrong."""
    suffix = name.rpartition(".")[2].lower()
    text = decode_text(content, name)
    rows = parse_rows(text, DELIMITERS[suffix], name) if suffix in DELIMITERS else parse_objects(text, name)
    if not rows:
        return [], [], {column: pa.nulls(0) for column in fields}
    there = list(dict.fromkeys(column for row in rows for column in row))
    path, label = (next((each for each in known if each in there), None) for known in (PATHS, LABELS))
    if path is None or label is None:
        raise ValueError(
            f"{name} has the columns {', '.join(there)}: it needs one of {', '.join(PATHS)} and one of "
            f"{', '.join(LABELS)}; the first line of CSV and TSV names them"
        )
    check_there(fields, [column for column in there if column not in (path, label)], name, "column")
    for number, row in enumerate(rows, 1):
        if (
            not isinstance(row.get(path), str)
            or type(row.get(label)) not in (int, float, str)
            or "" in (row[path], row[label])
        ):
            raise ValueError(f"{name}: row {number} has no {path} that is text, or no {label} that is a number or text")
    made = cells_column if suffix in DELIMITERS else column_of
    columns = {column: made([row.get(column) for row in rows], f"{name}: column {column}") for column in fields}
    return [escaped(row[path]) for row in rows], [escaped(str(row[label])) for row in rows], columns


def parse_rows(text: str, delimiter: str, name: str) -> list[dict[str, Any]]:
    """The rows of CSV or TSV."""
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read ({error})") from error
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(f"{name}: row {number} has not as many cells as the first line has names")
    return rows


def parse_objects(text: str, name: str) -> list[dict[str, Any]]:
    """The rows of JSON Lines."""
    lines = enumerate(lines_of(text), 1)
    return [json_object(line, f"{name}: line {number}") for number, line in lines if line.strip()]


def cells_column(cells: Sequence[Any], what: str) -> pa.Array:
    """Cells of text as integers or real numbers if all of them are, an empty one being none of them; else as text."""
    column = column_of(cells, what)
    filled = pc.replace_with_mask(column, pc.equal(column, ""), pa.scalar(None, pa.string()))
    for kind in (pa.int64(), pa.float64()):
        try:
            return filled.cast(kind) if filled.null_count < len(filled) else column
        except pa.ArrowInvalid:
            continue
    return column
