"""Datasets of ours below what a user names, finished or not: known by their marks, and no source unless named.

Else whoever makes shards in a folder below the photographs would convert the shards the next time, and a killed
conversion would take its own for its source.
"""

import re
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.input_folder import InputFolder, folders_of_ours
from imagefeed.pipeline.files.marks import FINISHED, LOCK, MARKS, RECORDS
from imagefeed.pipeline.sources.image_table import IMAGE
from imagefeed.pipeline.sources.split_names import SPLITS

OF_ROOT = re.compile(rf"(?:(?:tar|beton)/)?(?:{'|'.join(SPLITS)})/")  # where a conversion into the root puts splits
NAMES = {FINISHED: "a dataset", RECORDS: "a conversion that has not finished"}


def without_ours(
    origin: InputFolder, files: pa.Table, is_source: Callable[[pa.Table], bool]
) -> tuple[pa.Table, tuple[str, ...]]:
    """The files that are meant by a listing, and what is to be said of others.

    Where `is_source` recognises what lies outside of our folders, that is meant; else the finished datasets. Raises
    `ValueError` where both may be, where images lie within a folder of ours, and for one that is not finished.
    """
    ours, root = folders_of_ours(files), origin.root
    files = without_marks(files)
    if not ours:
        return files, ()
    for folder in ours:
        deeper = tuple(each for each in ours if each != folder and each.startswith(folder))
        if mixed := images_in(files.filter(outside(files, deeper)), folder):
            raise ValueError(
                f"{origin.path(folder)} holds both what imagefeed has written ({NAMES[ours[folder]]}) and images "
                f"({mixed[0]}): move one of them elsewhere, and name what is meant"
            )
    if "" in ours:
        if ours[""] == RECORDS:
            raise ValueError(f"{root} is {NAMES[RECORDS]}: run that again first, or name its source")
        return files.filter(outside(files, [each for each in ours if each])), ()
    rest = files.filter(outside(files, ours))
    if is_source(rest):
        if splits := [folder for folder in ours if OF_ROOT.fullmatch(folder)]:
            raise ValueError(
                f"{root} holds both what imagefeed has written ({splits[0]}: {NAMES[ours[splits[0]]]}) and something "
                "else to convert: name the folder that is meant, or move one of them elsewhere"
            )
        first = next(iter(ours)).rstrip("/")
        also = f" and {len(ours) - 1} more" if len(ours) > 1 else ""
        return rest, (f"passed over: {first}{also}, which imagefeed has written: to convert that, name it",)
    if unfinished := [folder for folder, mark in ours.items() if mark == RECORDS]:
        raise ValueError(
            f"{origin.path(unfinished[0])} is {NAMES[RECORDS]}: run that again first, or name a folder beside it"
        )
    return files, ()


def without_marks(files: pa.Table) -> pa.Table:
    """The files and empty folders, without marks and without what is empty because a conversion has begun there."""
    names = files["name"]
    marked = pc.or_(*(pc.ends_with(names, mark) for mark in MARKS[:2]))
    marked = pc.or_(marked, pc.ends_with(names, LOCK))
    said = [name for name in names.filter(marked).to_pylist() if name.rpartition("/")[2] in MARKS]
    begun = tuple(name.removesuffix(LOCK) for name in said if name.endswith(f"/{LOCK}"))
    said += [name for name in names.filter(pc.ends_with(names, "/")).to_pylist() if name.startswith(begun)]
    return files.filter(pc.invert(pc.is_in(names, pa.array(said, pa.string())))) if said else files


def images_in(files: pa.Table, folder: str) -> list[str]:
    """The names of images in folders within `folder`."""
    names = files["name"].filter(pc.starts_with(files["name"], folder))
    below = pc.utf8_slice_codeunits(names, len(folder))
    return names.filter(pc.match_substring_regex(below, f"(?s)^[^/]+/{IMAGE}$")).to_pylist()


def outside(files: pa.Table, folders: Iterable[str]) -> pa.Array:
    """Which files (bool [n]) are in none of the folders."""
    found = pa.array(np.ones(len(files), bool))
    for folder in folders:
        found = pc.and_(found, pc.invert(pc.starts_with(files["name"], folder)))
    return found
