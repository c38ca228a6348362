"""A folder of class folders, `<class>/<image>`, or such folders under the folders of splits, `train/`, `val/`, `test/`.

A class is named by its folder and its label is its place in sorted order. A folder with nothing in it is a class too,
as where a download has just begun: else the labels behind it would move. One that holds files and no image is none.

Where one folder holds all the others, its folders are meant: it is no class. Folders that may be meant in several ways
are refused (`doubts.py`), unless `--class-folders all` says that each folder is a class.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.formats.left_out import LeftOut
from imagefeed.pipeline.sources.doubts import check_folders, check_tables
from imagefeed.pipeline.sources.image_table import (
    BY_NAME,
    FLAT,
    IMAGE,
    Source,
    by_key,
    labels_of,
    unique_keys,
    whole_files,
)
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.split_names import NOT_ASKED, ORDER, chosen, split_called

DEEPEST = 2  # folders around those of the splits or classes
NO_CLASSES = "its images lie in no class folder"


def recognises(files: pa.Table) -> bool:
    """Whether there are class folders with at least one image, directly or below a split."""
    return len(named(files, f"[^/]+/{IMAGE}")) > 0


def open_source(origin: InputFolder, files: pa.Table, reading: ReadOptions = ReadOptions()) -> Source:
    """Lists the images. Without split folders everything is "train".

    Raises `ValueError` where the splits' classes differ, or where folders may be meant in several ways.
    """
    base = base_of(files, reading)
    within = files.filter(pc.starts_with(files["name"], base)) if base else files
    roots = split_folders(origin, within, base, reading)
    flat = flat_splits(within, base) if roots else {}
    kept = chosen(roots or {"train": ""}, reading.splits, origin.root)
    left = {**flat, **{split: NOT_ASKED for split in roots if split not in kept}}
    parts, folders = {}, {}
    for split, root in kept.items():
        prefix = f"{base}{root}/" if root else base
        found = within.filter(pc.starts_with(within["name"], prefix)) if root else within
        folders[split] = empty_and_others(found, len(prefix))
        found = images_below(found, prefix, f"[^/]+/{IMAGE}")
        parts[split] = found, pc.utf8_slice_codeunits(found["name"], len(prefix))
    first = next(iter(parts))
    empty = folders[first][0]
    if not roots and (like_splits := [name for name in sorted(empty) if split_called(name)]):
        raise ValueError(
            f"{origin.path(base + like_splits[0])} is an empty folder beside class folders, and called like a split: "
            "remove it if it is one, or put an image into it if it is a class"
        )
    tops = {name for _, inner in parts.values() for name in pc.unique(top(inner)).to_pylist()}
    if reading.class_folders == "auto" and not (reading.one_class and len(tops) == 1):
        where = origin.path(base).rstrip("/")
        check_tables(origin, within, list(parts.values()))
        check_folders([inner for _, inner in parts.values()], where, bool(roots))
    names = sorted({*pc.unique(top(parts[first][1])).to_pylist(), *empty})
    classes = tuple(Class(name, name) for name in names)
    used = [name for split in left if split in roots for name in below(within, f"{base}{roots[split]}/")]
    return Source(
        kind="folder",
        root=origin.root,
        classes=classes,
        rule=BY_NAME,
        notes=(
            *([f"within {base.rstrip('/')}, which holds all of the folders"] if base else []),
            *empty_splits(within, base, roots),
            *notes({split: f"{base}{roots[split]}/" if roots else base for split in kept}, folders, names),
        ),
        used=tuple(used),
        left_out=LeftOut(splits=left),
        splits={
            split: by_key(
                whole_files(
                    found,
                    unique_keys(named_below),
                    labels_in(named_below, classes, origin.path(base + roots.get(split, "")), split, list(parts)),
                ),
                origin.path(base + roots.get(split, "")),
            )
            for split, (found, named_below) in parts.items()
        },
    )


def base_of(files: pa.Table, reading: ReadOptions) -> str:
    """The folder, "" or `a/` or `a/b/`, whose folders are splits or classes: one that alone holds folders of images and
    no image itself is none of these."""
    base = ""
    if reading.class_folders == "all" or reading.one_class:
        return base
    while base.count("/") < DEEPEST:
        found = pa.concat_tables([images_below(files, base, f"[^/]+/{IMAGE}"), images_below(files, base, "(?:.*/)?")])
        tops = pc.unique(top(pc.utf8_slice_codeunits(found["name"], len(base)))).to_pylist()
        if len(tops) != 1 or split_called(tops[0]) or len(images_below(files, f"{base}{tops[0]}/", FLAT)):
            break
        base += f"{tops[0]}/"
    return base


def split_folders(origin: InputFolder, files: pa.Table, base: str, reading: ReadOptions) -> dict[str, str]:
    """The folders of the splits below `base`, in the order of the splits; none where these are no splits but classes.

    Raises `ValueError` where two folders are one split, or where other folders with images stand beside.
    """
    if reading.class_folders == "all":
        return {}
    deep = tops_of(files, base, f"[^/]+/[^/]+/{IMAGE}")
    found = [(split_called(name), name) for name in deep if split_called(name)]
    roots = {split: name for split in ORDER for called, name in found if called == split}
    if len(roots) < len(found):
        twice = next(split for split in roots if [called for called, _ in found].count(split) > 1)
        folders = " and ".join(f"{name}/" for called, name in found if called == twice)
        raise ValueError(f"{origin.path(base).rstrip('/')} has both {folders}: remove or rename one of them")
    if roots and "train" not in roots:  # a class may be called val
        deep = tops_of(files, base, f"[^/]+/{IMAGE}")
    if odd := [name for name in deep if not split_called(name)] if roots else []:
        raise ValueError(
            f"{origin.path(base).rstrip('/')} has {', '.join(sorted(roots.values()))} and other folders with images "
            f"beside, such as {odd[0]}: name the one you mean, or move the others away; if all are classes, "
            "--class-folders all"
        )
    return roots


def flat_splits(files: pa.Table, base: str) -> dict[str, str]:
    """The splits below `base` whose images lie in no folder, with the reason why they are left out."""
    flat, deep = tops_of(files, base, f"[^/]+/{FLAT}"), tops_of(files, base, f"[^/]+/[^/]+/{IMAGE}")
    there = {split_called(name) for name in deep}
    splits = (split_called(name) for name in flat if name not in deep)
    return {split: NO_CLASSES for split in splits if split is not None and split not in there}


def images_below(files: pa.Table, prefix: str, pattern: str) -> pa.Table:
    """The files whose name is `prefix` and then matches a regular expression."""
    found = files.filter(pc.starts_with(files["name"], prefix)) if prefix else files
    rest = pc.utf8_slice_codeunits(found["name"], len(prefix))
    return found.filter(pc.match_substring_regex(rest, f"(?s)^(?:{pattern})$"))


def tops_of(files: pa.Table, base: str, pattern: str) -> list[str]:
    """The first folders below `base` of the files that match `pattern` there, sorted."""
    found = images_below(files, base, pattern)
    return sorted(pc.unique(top(pc.utf8_slice_codeunits(found["name"], len(base)))).to_pylist())


def below(files: pa.Table, prefix: str) -> list[str]:
    """The names of all files below a folder."""
    return files["name"].filter(pc.starts_with(files["name"], prefix)).to_pylist()


def labels_in(names: pa.Array, classes: tuple[Class, ...], where: str, split: str, splits: list[str]) -> np.ndarray:
    """The labels (int64 [n]) of images by their names in a split. `ValueError` with a cure for an unknown class."""
    try:
        return labels_of(top(names), classes, where)
    except ValueError as error:
        others = ",".join(each for each in splits if each != split)
        raise ValueError(f"{error}, those of {splits[0]}; --splits {others} leaves the split out") from error


def top(names: pa.Array) -> pa.Array:
    """The first part of each name."""
    return pc.replace_substring_regex(names, r"(?s)/.*$", "")


def empty_and_others(files: pa.Table, at: int) -> tuple[set[str], set[str]]:
    """The folders, from character `at` of their names on, that hold nothing, and those that hold files and no image."""
    below = pc.utf8_slice_codeunits(files["name"], at)
    below = below.filter(pc.match_substring(below, "/"))
    nothing, image = pc.ends_with(below, "/"), pc.match_substring_regex(below, f"(?s)^{IMAGE}$")
    with_files = set(pc.unique(top(below.filter(pc.invert(nothing)))).to_pylist())
    empty = set(pc.unique(top(below.filter(nothing))).to_pylist()) - with_files
    return empty, with_files - set(pc.unique(top(below.filter(image))).to_pylist())


def empty_splits(files: pa.Table, base: str, roots: dict[str, str]) -> Iterator[str]:
    """What is to be said of folders that are called like a split and are none."""
    if roots:
        empty, _ = empty_and_others(files.filter(pc.starts_with(files["name"], base)), len(base))
        for name in sorted(each for each in empty if split_called(each)):
            yield f"no split: {base}{name}, with nothing in it"


def notes(prefixes: dict[str, str], folders: dict[str, tuple[set[str], set[str]]], classes: list[str]) -> Iterator[str]:
    """What is to be said of the folders of each split that are no class."""
    for split, (empty, others) in folders.items():
        for what, found in (("nothing", empty - set(classes)), ("files and no image", others)):
            if found:
                also = f" and {len(found) - 1} more" if len(found) > 1 else ""
                yield f"no class: {prefixes[split]}{min(found)}{also}, with {what} in it"
