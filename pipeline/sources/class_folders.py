"""A folder of class folders, `<class>/<image>`, or such folders under `train/` and `val/`.

A class is named by its folder and its label is its place in sorted order. A folder with nothing in it is a class too,
as where a download has just begun: else the labels behind it would move. One that holds files and no image is none.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.sources import split_names
from imagefeed.pipeline.sources.image_table import (
    BY_NAME,
    IMAGE,
    Source,
    by_key,
    labels_of,
    unique_keys,
    whole_files,
)

SPLITS = {"train": "train", "val": "val", "validation": "val"}


def recognises(files: pa.Table) -> bool:
    """Whether there are class folders with at least one image, directly or below a split."""
    return len(named(files, f"[^/]+/{IMAGE}")) > 0


def open_source(origin: InputFolder, files: pa.Table) -> Source:
    """Lists the images. Without split folders everything is "train". Raises where the splits' classes differ."""
    images = named(files, f"[^/]+/[^/]+/{IMAGE}")
    tops = pc.unique(top(images["name"])).to_pylist()
    roots = {SPLITS[name]: name for name in tops if name in SPLITS}
    if roots and "train" not in roots:  # a class may be called val
        tops = pc.unique(top(named(files, f"[^/]+/{IMAGE}")["name"])).to_pylist()
    if len(roots) < len([name for name in tops if name in SPLITS]):
        raise ValueError(f"{origin.root} has both val/ and validation/: remove or rename one of them")
    if odd := sorted(set(tops) - set(SPLITS)) if roots else []:
        raise ValueError(
            f"{origin.root} has {', '.join(sorted(roots.values()))} and other folders with images beside, such as "
            f"{odd[0]}: name the one you mean, or move the others away"
        )
    parts, folders = {}, {}
    for split, root in (roots or {"train": ""}).items():
        prefix = f"{root}/" if root else ""
        found = files.filter(pc.starts_with(files["name"], prefix)) if root else files
        folders[split] = empty_and_others(found, len(prefix))
        found = named(found, f"{prefix}[^/]+/{IMAGE}")
        parts[split] = found, pc.utf8_slice_codeunits(found["name"], len(prefix))
    taken = pa.concat_tables([found for found, _ in parts.values()])["name"].combine_chunks()
    every = named(files, IMAGE)["name"]
    left_out = pc.filter(every, pc.invert(pc.is_in(every, value_set=taken)))
    first = "train" if "train" in parts else next(iter(parts))
    empty = folders[first][0]
    if not roots and (like_splits := empty & set(split_names.SPLITS)):
        raise ValueError(
            f"{origin.path(min(like_splits))} is an empty folder beside class folders, and called like a split: remove "
            "it if it is one, or put an image into it if it is a class"
        )
    names = sorted({*pc.unique(top(parts[first][1])).to_pylist(), *empty})
    classes = tuple(Class(name, name) for name in names)
    return Source(
        kind="folder",
        root=origin.root,
        classes=classes,
        rule=BY_NAME,
        notes=(*empty_splits(files, roots), *notes(roots, folders, names)),
        left_out=tuple(left_out.to_pylist()),
        splits={
            split: by_key(
                whole_files(
                    found, unique_keys(below), labels_of(top(below), classes, origin.path(roots.get(split, "")))
                ),
                origin.path(roots.get(split, "")),
            )
            for split, (found, below) in parts.items()
        },
    )


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


def empty_splits(files: pa.Table, roots: dict[str, str]) -> Iterator[str]:
    """What is to be said of folders that are called like a split and are none."""
    if roots:
        empty, _ = empty_and_others(files, 0)
        for name in sorted(empty & set(SPLITS)):
            yield f"no split: {name}, with nothing in it"


def notes(roots: dict[str, str], folders: dict[str, tuple[set[str], set[str]]], classes: list[str]) -> Iterator[str]:
    """What is to be said of the folders of each split that are no class."""
    for split, (empty, others) in folders.items():
        prefix = f"{roots[split]}/" if split in roots else ""
        for what, found in (("nothing", empty - set(classes)), ("files and no image", others)):
            if found:
                also = f" and {len(found) - 1} more" if len(found) > 1 else ""
                yield f"no class: {prefix}{min(found)}{also}, with {what} in it"
