"""A list of images with named columns: CSV or TSV whose first line has the names, or JSON Lines.

The columns of paths and labels have one of the names in `PATHS` and `LABELS`, or are named by the user; others can
become fields. In CSV and TSV a column is of integers or of real numbers where each of its cells is one or empty, else
of text.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.fields import check_there, column_of, json_object
from imagefeed.pipeline.files.text import decode_text, escaped, lines_of
from imagefeed.pipeline.sources.reading import ReadOptions

DELIMITERS = {"csv": ",", "tsv": "\t"}
TABLE_NAMES = r"[^/]*\.(?i:csv|tsv|jsonl)"  # a regular expression (RE2) for the names of lists with named columns
PATHS = ("path", "file_name", "image", "file", "filename", "filepath", "filepaths", "image_path", "image_id", "img")
LABELS = (
    *("label", "cls", "labels", "target", "targets", "class", "class_name", "category", "fine_label"),
    *("coarse_label", "class_id", "label_name"),
)
FIRST = (*PATHS[:3], *LABELS[:2])  # that win over the others, the first one that is there


def parse_list(
    content: bytes, name: str, fields: Sequence[str], reading: ReadOptions = ReadOptions()
) -> tuple[list[str], list[str], dict[str, pa.Array]]:
    """Paths, labels and the columns `fields` of the list `name`. Raises `ValueError` with the row that is wrong."""
    rows = read_rows(content, name)
    if not rows:
        return [], [], {column: pa.nulls(0) for column in fields}
    there = list(dict.fromkeys(column for row in rows for column in row))
    path = one_column(there, PATHS, reading.image, "--image", name)
    label = one_column(there, LABELS, reading.label, "--label", name)
    check_there(fields, [column for column in there if column not in (path, label)], name, "column")
    for number, row in enumerate(rows, 1):
        if (
            not isinstance(row.get(path), str)
            or type(row.get(label)) not in (int, float, str)
            or "" in (row[path], row[label])
        ):
            raise ValueError(f"{name}: row {number} has no {path} that is text, or no {label} that is a number or text")
    made = column_of if is_objects(name) else cells_column
    columns = {column: made([row.get(column) for row in rows], f"{name}: column {column}") for column in fields}
    return [escaped(row[path]) for row in rows], [escaped(str(row[label])) for row in rows], columns


def one_column(
    there: Sequence[str], known: Sequence[str], wanted: str | None, option: str, name: str, first: Sequence[str] = FIRST
) -> str:
    """The column `wanted`, or the one of `there` that is among the `known` names, of which those in `first` win.

    Raises `ValueError` with the columns and the `option` where it is not there, or several may be meant.
    """
    if wanted is not None:
        check_there((wanted,), list(there), name, "column")
        return wanted
    found = [each for each in there if each.lower() in known]
    best = next((each for each in first if each in found), None)
    if best is not None or len(found) == 1:
        return best or found[0]
    what = f"{' and '.join(found)} may be meant" if found else f"it needs one of {', '.join(known)}"
    raise ValueError(
        f"{name} has the columns {', '.join(there)}: {what}; name the one that is meant, such as "
        f"{option} {(found or list(there))[0]}"
    )


def column_in(there: Sequence[str], known: Sequence[str]) -> str | None:
    """The first column of `there` that has a known name."""
    return next((each for each in there if each.lower() in known), None)


def is_objects(name: str) -> bool:
    """Whether a list is JSON Lines."""
    return name.lower().endswith(".jsonl")


def read_rows(content: bytes, name: str) -> list[dict[str, Any]]:
    """The rows of the list `name`, by columns. Raises `ValueError` with the row that is wrong."""
    text = decode_text(content, name)
    if is_objects(name):
        return parse_objects(text, name)
    delimiter = DELIMITERS.get(name.rpartition(".")[2].lower()) or delimiter_of(text)
    return parse_rows(text, delimiter, name)


def delimiter_of(text: str) -> str:
    """What parts the names of columns in the first line."""
    return "\t" if "\t" in text.partition("\n")[0] else ","


def has_header(text: str) -> bool:
    """Whether the first line names a column of paths and one of labels, and perhaps others."""
    cells = [cell.strip().strip('"') for cell in text.partition("\n")[0].split(delimiter_of(text))]
    return None not in (column_in(cells, PATHS), column_in(cells, LABELS))


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
