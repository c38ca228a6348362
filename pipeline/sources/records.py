"""What is common to sources whose files hold one record a sample: Arrow, MDS, LitData, TFRecord.

Each kind lists one file (`Samples`); here files become splits, labels become numbers of classes and samples get keys:
the names of their image files where all of a split have different ones, else the file and the number of the record.
"""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.classes import NAME_FILES
from imagefeed.pipeline.dataset.fields import joined, widened
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, named
from imagefeed.pipeline.formats.left_out import LeftOut
from imagefeed.pipeline.formats.listing import check_labels
from imagefeed.pipeline.sources.class_names import name_classes, read_names
from imagefeed.pipeline.sources.class_order import BY_FILE
from imagefeed.pipeline.sources.image_table import BY_NAME, BY_NUMBER, Source, by_key, key_of, last_part, rows
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.split_names import NO_LABELS

SUFFIX = r"\.(?:arrow|mds|bin|tfrecords?|tfrec)$"
# What stands beside such files and tells of them.
DESCRIPTION = r"(?:.*/)?(?:index|state|dataset_info|dataset_dict|features)\.json|.*\.labels\.txt"
LABELS = ("label", "cls")  # what a column of labels is called where nobody names it


class Samples(NamedTuple):
    """What a file holds: n samples, in its order."""

    label: np.ndarray | pa.Array  # int64 [n], or the names of the classes (text [n])
    file: pa.Array  # text [n], as in `image_table.SCHEMA`
    offset: np.ndarray  # int64 [n], bytes
    size: np.ndarray  # int64 [n], bytes
    path: pa.Array | None = None  # text [n]: the names of the image files, null for none
    words: Sequence[str] = ()  # the names of the classes, where labels are numbers
    fields: dict[str, pa.Array] = {}  # noqa: RUF012 - columns beyond, each [n]
    label_column: str = ""  # what the labels are called


def open_records(
    kind: str,
    origin: InputFolder,
    files: pa.Table,
    parts: dict[str, pa.Table],
    list_file: Callable[[dict], Samples],
    reading: ReadOptions,
    words: Sequence[str] = (),
) -> Source:
    """The source of the splits `parts`, whose files (rows of `FILES`) are listed by `list_file`. A split test beside
    others, none of whose samples has a label, is left out.

    `words` name the classes where no file does. Raises `ValueError` with the file where labels are no labels, where
    some are numbers and some are names, and where files name classes in different ways.
    """
    found = [(split, file) for split, table in parts.items() for file in table.to_pylist()]
    with ThreadPoolExecutor(REQUESTS) as pool:
        listed = list(pool.map(lambda each: list_file(each[1]), found))
    names = [file["name"] for _, file in found]
    texts = {
        isinstance(each.label, np.ndarray): name for name, each in zip(names, listed, strict=True) if len(each.size)
    }
    if len(texts) > 1:
        raise ValueError(
            f"{origin.root}: the labels of {texts[True]} are numbers, those of {texts[False]} are text: convert apart"
        )
    given = read_names(origin, files)
    if False in texts:
        rule, classes = by_text(origin.root, listed, given)
    else:
        said = {tuple(each.words): name for name, each in zip(names, listed, strict=True) if each.words}
        if len(said) > 1:
            raise ValueError(f"{origin.root}: {' and '.join(said.values())} name other classes: convert them apart")
        rule, classes, words = BY_FILE if given else BY_NUMBER, given or (), next(iter(said), tuple(words))
    bare = len(parts) > 1 and all(
        without_labels(each) for (split, _), each in zip(found, listed, strict=True) if split == "test"
    )
    tables: dict[str, list[pa.Table]] = {split: [] for split in parts if not (bare and split == "test")}
    for (split, file), each in zip(found, listed, strict=True):
        if split in tables:
            tables[split].append(as_rows(origin.path(file["name"]), file, each, classes, reading))
    splits = {split: by_key(with_paths(joined(each, origin.root)), origin.root) for split, each in tables.items()}
    number = 1 + max(int(pc.max(table["label"]).as_py()) for table in splits.values())
    classes = classes or name_classes(list(splits.values()), list(words), number)
    if number > len(classes):
        raise ValueError(f"{origin.root} has the label {number - 1}, and {len(classes)} classes have names")
    return Source(
        kind=kind,
        root=origin.root,
        classes=classes,
        splits=splits,
        rule=rule,
        used=(*names, *named(files, DESCRIPTION)["name"].to_pylist(), *NAME_FILES),
        left_out=LeftOut(splits={split: NO_LABELS for split in parts if split not in tables}),
    )


def without_labels(found: Samples) -> bool:
    """Whether all labels of a file are -1."""
    return isinstance(found.label, np.ndarray) and bool((found.label == -1).all())


def by_text(where: str, listed: list[Samples], given: tuple[Class, ...] | None) -> tuple[str, tuple[Class, ...]]:
    """The rule and the classes of labels that are text. Raises `ValueError` for one that `given` classes lack."""
    found = sorted({name for each in listed for name in pc.unique(each.label).to_pylist()} - {None, ""})
    if given is None:
        return BY_NAME, tuple(Class(name, name) for name in found)
    if unknown := sorted(set(found) - {each.wnid for each in given}):
        raise ValueError(f"{where} has the class {unknown[0]}, which the file of class names lacks")
    return BY_FILE, given


def as_rows(name: str, file: dict, found: Samples, classes: tuple[Class, ...], reading: ReadOptions) -> pa.Table:
    """The samples of a file as `image_table.SCHEMA`, `path` and fields."""
    count = len(found.size)
    key = record_keys(file["name"], count)
    if isinstance(found.label, np.ndarray):
        label = found.label - (reading.first_label or 0)
        check_labels(label, name, key)
    else:
        places = pc.index_in(found.label, pa.array([each.wnid for each in classes], pa.string()))
        if places.null_count:
            raise ValueError(f"{name}: sample {pc.index(places.is_null(), True).as_py()} has no label: leave it out")
        label = places.to_numpy()
    table = rows(
        key=key,
        label=label,
        file=found.file,
        offset=found.offset,
        size=found.size,
        stamp=np.full(count, file["stamp"]),
    )
    table = table.append_column("path", pa.nulls(count, pa.string()) if found.path is None else found.path)
    for field, column in found.fields.items():
        table = table.append_column(field, column)
    return table


def with_paths(table: pa.Table) -> pa.Table:
    """A split's table without `path`, which gives the keys where all rows have different names there."""
    if table["path"].null_count == len(table):
        return table.drop_columns("path")
    keys = key_of(last_part(table["path"]))
    if not keys.null_count and len(pc.unique(keys)) == len(keys):
        table = table.set_column(0, "key", keys)
    return table.drop_columns("path")


def samples_of(
    where: tuple[pa.Array, np.ndarray, np.ndarray],
    values: Callable[[str], np.ndarray | pa.Array],
    label: str,
    fields: Sequence[str],
    of: str,
) -> Samples:
    """The samples whose images are at `where` (file, offset, size, each [n]), with what `values` reads of a column.

    Raises `ValueError` for labels that are no whole numbers; `of` begins what is said of a column.
    """
    labels = values(label)
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f":
        raise ValueError(f"{of} {label} has real numbers: labels are whole numbers from 0 on")
    file, offset, size = where
    return Samples(
        label=labels if isinstance(labels, pa.Array) else labels.astype(np.int64),
        file=file,
        offset=offset,
        size=size,
        fields={each: widened(as_column(values(each)), f"{of} {each}") for each in fields},
    )


def as_column(values: np.ndarray | pa.Array) -> pa.Array:
    """Values ([n]) as a column."""
    return pa.array(values) if isinstance(values, np.ndarray) else values


def record_keys(file: str, count: int) -> pa.Array:
    """The keys (text [n]) of the records of a file: its name without the suffix, and the number."""
    stem = re.sub(SUFFIX, "", file)
    numbers = pc.utf8_lpad(pc.cast(pa.array(np.arange(count)), pa.string()), 8, "0")
    return pc.binary_join_element_wise(stem, numbers, "/")


def choose_column(there: Sequence[str], known: Sequence[str], wanted: str | None, option: str, name: str) -> str:
    """The column `wanted`, or the only one of `there` that is among the `known` names.

    Raises `ValueError` with the columns and the option where it is not there, or several may be meant.
    """
    found = [each for each in (there if wanted else known) if each in there and wanted in (None, each)]
    if len(found) == 1:
        return found[0]
    what = f"no column {wanted}" if wanted else "several that may be meant" if found else f"none of {', '.join(known)}"
    example = (found or list(there) or ["NAME"])[-1]
    raise ValueError(
        f"{name} has {what}; its columns are {', '.join(there) or 'none'}: name the one that is meant, such as "
        f"--{option} {example}"
    )
