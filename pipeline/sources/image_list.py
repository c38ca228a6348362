"""A list file: one image a line, its path and then its label, `images/gold fish.jpg 1`, as Caffe has it.

Tabs or commas may stand between the two, if they do in all lines; a label behind them may have several words. Or a file
with named columns, see `list_table.py`. A path is relative to the list's folder; where it leads nowhere there, it is
that of the one image below the folder whose name ends so. Labels are numbers from 0 on, or names, which are numbered in
sorted order, and not both. `train.txt`, `val.txt` and `test.txt` side by side are splits, a list of another name is
"train". A file of names (`class_names.py`) beside them names the classes.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.classes import CLASSES, NAME_FILES
from imagefeed.pipeline.dataset.fields import check_there, joined
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, named, table_of
from imagefeed.pipeline.files.text import decode_text, escaped, lines_of
from imagefeed.pipeline.formats.left_out import LeftOut
from imagefeed.pipeline.formats.listing import MOST_CLASSES
from imagefeed.pipeline.sources.class_names import read_names
from imagefeed.pipeline.sources.class_order import BY_FILE
from imagefeed.pipeline.sources.image_table import (
    BY_NAME,
    BY_NUMBER,
    IMAGE,
    SUFFIXES,
    Source,
    by_key,
    labels_of,
    relative,
    unique_keys,
    whole_files,
)
from imagefeed.pipeline.sources.list_table import TABLE_NAMES, has_header, parse_list
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.split_names import NOT_ASKED, SPLITS, by_split, chosen

SPLIT_LISTS = rf"(?i:{'|'.join(SPLITS)})\.(?:txt|lst)"
ANY_LIST = rf"[^/]*\.(?:txt|lst)|{TABLE_NAMES}"
LINE = re.compile(r"(?P<path>.*\S)[ \t]+(?P<label>\S+)")
SEPARATED = {  # a label behind a tab or a comma; of what MXNet's im2rec writes, in front of the path
    "\t": re.compile(rf"(?P<path>[^\t]*\.(?:{'|'.join(SUFFIXES)}))\t+(?P<label>[^\t]*\S)\s*", re.IGNORECASE),
    "im2rec": re.compile(rf"[0-9]+\t(?P<label>[0-9.]+)\t(?P<path>[^\t]*\.(?:{'|'.join(SUFFIXES)}))\s*", re.IGNORECASE),
    ",": re.compile(rf"(?P<path>.*\.(?:{'|'.join(SUFFIXES)}))[ \t]*,\s*(?P<label>.*\S)\s*", re.IGNORECASE),
}
NUMBER = re.compile(r"(?P<number>[0-9]{1,18})(?:\.0*)?")  # 2.0, too: so pandas writes 2 where another is missing
NUMERIC = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def recognises(files: pa.Table) -> bool:
    """Whether lists were named and nothing else, or lie in a folder under the names of splits."""
    return has_splits(files) or (len(named(files, ANY_LIST)) == len(files) > 0)


def has_splits(files: pa.Table) -> bool:
    """Whether there are lists under the names of splits."""
    return len(named(files, SPLIT_LISTS)) > 0


def open_source(
    origin: InputFolder, files: pa.Table, fields: Sequence[str] = (), reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images, with the columns `fields` behind those of `SCHEMA`.

    Raises `ValueError` with the line that cannot be read, `OSError` for a missing image.
    """
    lists = named(files, SPLIT_LISTS)
    lists = lists if len(lists) else files.filter([name not in NAME_FILES for name in files["name"].to_pylist()])
    there = by_split(lists, origin.root)
    kept = chosen(there, reading.splits, origin.root)
    parts = {split: read_lists(origin, each["name"].to_pylist(), fields, reading) for split, each in kept.items()}
    given = read_names(origin, names_beside(origin))
    words = {label for _, labels, _ in parts.values() for label in labels}
    rule = BY_FILE if given else BY_NUMBER
    if all(NUMBER.fullmatch(label) for label in words):
        first = reading.first_label or 0
        classes = number_classes({number_of(word) - first for word in words}, given, origin.root, reading)
        parts = {
            split: (names, [classes[number_of(each) - first].wnid for each in labels], columns)
            for split, (names, labels, columns) in parts.items()
        }
    else:
        if given is None or not words <= {each.wnid for each in given}:
            check_names(parts, origin.root)
        classes = given or tuple(Class(word, word) for word in sorted(words))
        rule = BY_FILE if given else BY_NAME
    splits = {}
    for split, (names, labels, columns) in parts.items():
        found = describe(origin, names)
        numbers = labels_of(pa.array(labels, pa.string()), classes, origin.root)
        table = whole_files(found, unique_keys(relative(found["name"])), numbers)
        for name in fields:
            table = table.append_column(name, columns[name])
        splits[split] = by_key(table, origin.root)
    return Source(
        kind="list",
        root=origin.root,
        classes=classes,
        splits=splits,
        rule=rule,
        used=(*lists["name"].to_pylist(), *NAME_FILES),
        left_out=LeftOut(splits={split: NOT_ASKED for split in there if split not in kept}),
    )


def number_of(word: str) -> int:
    """The number that a label is."""
    return int(word.partition(".")[0])


def check_names(parts: dict[str, tuple[list[str], list[str], pa.Table]], where: str) -> None:
    """Raises `ValueError` with an image where labels are neither all numbers from 0 on nor all names: -1, 0.5, nan."""
    rows = [row for names, labels, _ in parts.values() for row in zip(names, labels, strict=True)]
    numeric = next((label for _, label in rows if NUMERIC.fullmatch(label)), None)
    if numeric is None:
        return
    name, odd = next(row for row in rows if not NUMBER.fullmatch(row[1]))
    raise ValueError(
        f"{where}: {name} has the label {odd}" + f", and others {numeric}" * (numeric != odd) + ": labels are numbers "
        "from 0 on, or names, and not both. Leave out images without a label; where names look like numbers, name all "
        f"of them in {CLASSES}, one a line"
    )


def below_root(root: str, path: str) -> str:
    """A path of a list as a name below the list's folder, `root`, where it leads there."""
    if path.startswith("./") or not path.startswith("/"):
        return path.removeprefix("./")
    return path[len(root) :].lstrip("/") if path.startswith(f"{root.rstrip('/')}/") else path


def read_lists(
    origin: InputFolder, lists: list[str], fields: Sequence[str], reading: ReadOptions
) -> tuple[list[str], list[str], pa.Table]:
    """The paths, the labels and the columns `fields` of the lists of a split."""
    names, labels, tables = [], [], []
    for name in lists:
        content = origin.read(name)
        text = decode_text(content, origin.path(name))
        if is_table(name, text):
            paths, words, columns = parse_list(content, origin.path(name), fields, reading)
            names += [below_root(origin.root, path) for path in paths]
            labels += words
            tables.append(pa.table(columns))
            continue
        check_there(fields, (), origin.path(name), "column")
        lines = [(number, line) for number, line in enumerate(map(escaped, lines_of(text)), 1) if line.strip()]
        pattern = line_pattern([line for _, line in lines])
        for number, line in lines:
            match = pattern.fullmatch(line.rstrip().lstrip(" \t"))
            if match is None:
                raise ValueError(f"{origin.path(name)}: line {number} is no path and label: {line[:80]!r}")
            names.append(below_root(origin.root, match["path"]))
            labels.append(match["label"])
    if not names:
        raise ValueError(f"{origin.root}: {', '.join(lists)} names not one image")
    return names, labels, joined(tables, origin.root) if tables else pa.table({})


def is_table(name: str, text: str) -> bool:
    """Whether a list has named columns: not without a first line that names them, where each line is path and label."""
    if not re.fullmatch(TABLE_NAMES, name):
        return has_header(text)
    return name.lower().endswith(".jsonl") or not any(
        pattern.fullmatch(text.partition("\n")[0]) for pattern in SEPARATED.values()
    )


def line_pattern(lines: Sequence[str]) -> re.Pattern[str]:
    """What each line of a list matches: with tabs or commas if all lines have them, else with a space."""
    return next((each for each in SEPARATED.values() if lines and all(map(each.fullmatch, lines))), LINE)


def names_beside(origin: InputFolder) -> pa.Table:
    """The files that may name the classes, of which only lists were named."""
    found = []
    for name in NAME_FILES:
        try:
            found.append(origin.found(name))
        except FileNotFoundError:
            continue
    return table_of([found])


def number_classes(
    labels: set[int], given: tuple[Class, ...] | None, where: str, reading: ReadOptions
) -> tuple[Class, ...]:
    """The classes of labels that are numbers. Raises `ValueError` where they begin at 1 and nothing names them."""
    count, first = max(labels) + 1, reading.first_label
    if min(labels) < 0:
        raise ValueError(f"{where}: a list has the label 0: its labels are not counted from 1; leave out --first-label")
    if given is not None and count > len(given):
        also = "; if labels are counted from 1, --first-label 1" * (count == len(given) + 1 and 0 not in labels)
        raise ValueError(f"{where}: a list has the label {count - 1}, and {CLASSES} names {len(given)} classes{also}")
    if given is None and ((0 not in labels and first is None) or count > MOST_CLASSES):
        raise ValueError(
            f"{where}: the labels of the list go from {min(labels)} to {count - 1}: they are counted from 0. If these "
            f"are, and classes are missing, name all of them in {CLASSES}, one a line, or give --first-label 0; if "
            "they are counted from 1, --first-label 1"
        )
    return given or tuple(Class(str(label), str(label)) for label in range(count))


def describe(origin: InputFolder, names: list[str]) -> pa.Table:
    """The files `names`, in that order, as `origin.FILES`."""
    with ThreadPoolExecutor(REQUESTS) as pool:
        try:
            found = list(pool.map(origin.found, names))
        except FileNotFoundError:
            if (below := names_below(origin, names)) is None:
                raise
            names, found = below, list(pool.map(origin.found, below))
    return table_of([found]).take(np.argsort(np.argsort(names)))


def names_below(origin: InputFolder, names: list[str]) -> list[str] | None:
    """The images below the list's folder whose paths end with `names`, perhaps without the suffix.

    None unless there is one for each, and not one of the names leads to a file from the folder itself.
    """
    ends: dict[str, str | None] = {}
    for name in named(table_of(origin.batches()), IMAGE)["name"].to_pylist():
        parts = name.split("/")
        for depth in range(len(parts)):
            tail = "/".join(parts[depth:])
            for end in (tail, tail.rpartition(".")[0]):
                ends[end] = name if end not in ends else None
    found = [ends.get(name) for name in names]
    return [each for each in found if each is not None] if None not in found else None
