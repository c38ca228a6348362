"""Class folders that are most likely none: refused with the option that takes them all the same."""

from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.sources.list_table import LABELS, PATHS, TABLE_NAMES, column_in, read_rows
from imagefeed.pipeline.sources.split_names import split_called

NO_CLASS = {
    *("image", "images", "img", "imgs", "jpg", "jpeg", "jpegs", "jpegimages", "png", "photo", "photos", "picture"),
    *("pictures", "mask", "masks", "label", "labels", "annotation", "annotations", "gt", "segmentation", "depth"),
}
MOST_ROWS = 100_000  # of a table that are compared with the folders


def take_all(count: int) -> str:
    """The option by which `count` folders are classes all the same."""
    return "--class-folders all" if count > 1 else "--one-class"


def check_folders(splits: list[pa.Array], where: str, has_splits: bool) -> None:
    """Raises `ValueError` where the first parts of names (text [n] for each split) are most likely no classes: those
    that hold splits, or all the same folders, or are called as folders of images are."""
    names = pa.concat_arrays([each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in splits])
    heads = pc.unique(pc.replace_substring_regex(names, r"(?s)^([^/]+/)(?:([^/]+/).*|[^/]*)$", r"\1\2")).to_pylist()
    folders: dict[str, set[str]] = {}
    for head in heads:  # `class/` or `class/folder/`
        top, _, sub = head.partition("/")
        folders.setdefault(top, set()).add(sub.removesuffix("/"))
    cure = f"if each folder is a class all the same, {take_all(len(folders))}"
    for name in sorted(folders):
        if inner := sorted(sub for sub in folders[name] if split_called(sub)):
            raise ValueError(
                f"{where}/{name} holds {inner[0]}, which is called like a split: the folders of splits belong above "
                f"those of the classes, {inner[0]}/{name}; name the folder that holds the splits, or, {cure}"
            )
    first = next(iter(folders.values()))
    if len(folders) > 1 and len(first - {""}) > 1 and all(each == first for each in folders.values()):
        raise ValueError(
            f"{where}: all of its folders, such as {min(folders)}, hold the same folders, {', '.join(sorted(first))}: "
            f"classes may be these, or those; name one of the folders, or, {cure}"
        )
    if not has_splits and all(split_called(name) for name in folders):
        raise ValueError(
            f"{where}: {' and '.join(sorted(folders))} are called like splits and hold images in no class folder; "
            + cure
        )
    check_class_names(sorted(folders), where)


def check_class_names(names: list[str], where: str) -> None:
    """Raises `ValueError` where the folders `names`, by how they are called, are no classes."""
    if all(name.lower() in NO_CLASS or split_called(name) for name in names):
        raise ValueError(
            f"{where}: {' and '.join(names)}, by their names, are no classes: name the list or the table that has the "
            f"labels, or the folder that holds the class folders; if each folder is a class all the same, "
            + take_all(len(names))
        )


def check_tables(origin: InputFolder, files: pa.Table, splits: list[tuple[pa.Table, pa.Array]]) -> None:
    """Raises `ValueError` where a table beside the images has a column of labels for them that are not the folders.

    `splits` are files (`origin.FILES`) and their names below the folder of classes (text [n]).
    """
    tables = named(files, f"(?:[^/]+/){{0,2}}{TABLE_NAMES}")["name"].to_pylist()
    if not tables:
        return
    class_of: dict[str, str | None] = {}
    for found, below in splits:
        for name, inner in zip(found["name"].to_pylist(), below.to_pylist(), strict=True):
            last, folder = name.rpartition("/")[2], inner.partition("/")[0]
            for called in {name, last, last.rpartition(".")[0]}:
                class_of[called] = folder if class_of.get(called, folder) == folder else None
    for table in tables:
        if pairs := labels_beside(origin, table, class_of):
            folders, labels = ({pair[side] for pair in pairs} for side in (0, 1))
            if len(folders) == len(labels) == len(pairs):  # the same classes, perhaps by other names
                continue
            folder, label = sorted(pairs)[0]
            raise ValueError(
                f"{origin.path(table)} has labels of the images, such as {label} of one in {folder}, which are not the "
                f"names of their folders: to take them, name it, `imagefeed convert {origin.path(table)} OUT`; "
                f"to take the folders, {take_all(len(set(class_of.values())))}"
            )


def labels_beside(origin: InputFolder, table: str, class_of: dict[str, str | None]) -> set[tuple[str, str]]:
    """The pairs of folder and label that a table tells of images; none where it is no table of labels of them."""
    try:
        rows = read_rows(origin.read(table), table)
    except (ValueError, OSError):
        return set()
    there = list(rows[0]) if rows else []
    path, label = column_in(there, PATHS), column_in(there, LABELS)
    if path is None or label is None:
        return set()
    pairs = set()
    for row in islice(rows, MOST_ROWS):
        named_so = str(row.get(path)).removeprefix("./")
        folder = class_of.get(named_so) or class_of.get(named_so.rpartition("/")[2])
        if folder is not None:
            pairs.add((folder, str(row.get(label))))
    return pairs
