"""A list file: one image a line, its path and then its label, `images/gold fish.jpg 1`, as Caffe has it.

Or a file with named columns, see `list_table.py`. A path is relative to the list's folder. Labels are numbers from 0
on, or names, which are numbered in sorted order, and not both. `train.txt` and `val.txt` side by side are two splits, a
list of another name is "train". `classes.txt` beside them names the classes.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.classes import CLASSES
from imagefeed.pipeline.dataset.fields import check_there, joined
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, named, table_of
from imagefeed.pipeline.files.text import decode_text, escaped, lines_of
from imagefeed.pipeline.formats.listing import MOST_CLASSES
from imagefeed.pipeline.sources.class_names import read_names
from imagefeed.pipeline.sources.class_order import BY_FILE
from imagefeed.pipeline.sources.image_table import (
    BY_NAME,
    BY_NUMBER,
    Source,
    by_key,
    labels_of,
    relative,
    unique_keys,
    whole_files,
)
from imagefeed.pipeline.sources.list_table import parse_list
from imagefeed.pipeline.sources.split_names import by_split

SPLIT_LISTS = r"(?:train|val|valid|validation)\.(?:txt|lst)"
TABLES = r"[^/]*\.(?i:csv|tsv|jsonl)"
ANY_LIST = rf"[^/]*\.(?:txt|lst)|{TABLES}"
LINE = re.compile(r"(?P<path>.*\S)[ \t]+(?P<label>\S+)")
NUMBER = re.compile(r"(?P<number>[0-9]{1,18})(?:\.0*)?")  # 2.0, too: so pandas writes 2 where another is missing
NUMERIC = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def recognises(files: pa.Table) -> bool:
    """Whether lists were named and nothing else, or lie in a folder under the names of splits."""
    return has_splits(files) or (len(named(files, ANY_LIST)) == len(files) > 0)


def has_splits(files: pa.Table) -> bool:
    """Whether there are lists under the names of splits."""
    return len(named(files, SPLIT_LISTS)) > 0


def open_source(origin: InputFolder, files: pa.Table, fields: Sequence[str] = ()) -> Source:
    """Lists the images, with the columns `fields` behind those of `SCHEMA`.

    Raises `ValueError` with the line that cannot be read, `OSError` for a missing image.
    """
    lists = named(files, SPLIT_LISTS)
    lists = lists if len(lists) else files.filter([name != CLASSES for name in files["name"].to_pylist()])
    parts = {
        split: read_lists(origin, each["name"].to_pylist(), fields)
        for split, each in by_split(lists, origin.root).items()
    }
    try:
        given = read_names(origin, table_of([[origin.found(CLASSES)]]))
    except FileNotFoundError:
        given = None
    words = {label for _, labels, _ in parts.values() for label in labels}
    rule = BY_FILE if given else BY_NUMBER
    if all(NUMBER.fullmatch(label) for label in words):
        classes = number_classes(set(map(number_of, words)), given, origin.root)
        parts = {
            split: (names, [classes[number_of(each)].wnid for each in labels], columns)
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
    return Source(kind="list", root=origin.root, classes=classes, splits=splits, rule=rule)


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


def read_lists(origin: InputFolder, lists: list[str], fields: Sequence[str]) -> tuple[list[str], list[str], pa.Table]:
    """The paths, the labels and the columns `fields` of the lists of a split."""
    names, labels, tables = [], [], []
    for name in lists:
        if re.fullmatch(TABLES, name):
            paths, words, columns = parse_list(origin.read(name), origin.path(name), fields)
            names += [below_root(origin.root, path) for path in paths]
            labels += words
            tables.append(pa.table(columns))
            continue
        check_there(fields, (), origin.path(name), "column")
        text = decode_text(origin.read(name), origin.path(name))
        for number, line in enumerate(map(escaped, lines_of(text)), 1):
            if line.strip():
                found = LINE.fullmatch(line.rstrip().lstrip(" \t"))
                if found is None:
                    raise ValueError(f"{origin.path(name)}: line {number} is no path and label: {line[:80]!r}")
                names.append(below_root(origin.root, found["path"]))
                labels.append(found["label"])
    if not names:
        raise ValueError(f"{origin.root}: {', '.join(lists)} names not one image")
    return names, labels, joined(tables, origin.root) if tables else pa.table({})


def number_classes(labels: set[int], given: tuple[Class, ...] | None, where: str) -> tuple[Class, ...]:
    """The classes of labels that are numbers. Raises `ValueError` where they begin at 1 and nothing names them."""
    count = max(labels) + 1
    if given is not None and count > len(given):
        raise ValueError(f"{where}: a list has the label {count - 1}, and {CLASSES} names {len(given)} classes")
    if given is None and (0 not in labels or count > MOST_CLASSES):
        raise ValueError(
            f"{where}: the labels of the list go from {min(labels)} to {count - 1}: they are counted from 0. If these "
            f"are, and classes are missing, name all of them in {CLASSES}, one a line; else subtract {min(labels)}"
        )
    return given or tuple(Class(str(label), str(label)) for label in range(count))


def describe(origin: InputFolder, names: list[str]) -> pa.Table:
    """The files `names`, in that order, as `origin.FILES`."""
    with ThreadPoolExecutor(REQUESTS) as pool:
        found = list(pool.map(origin.found, names))
    return table_of([found]).take(np.argsort(np.argsort(names)))
