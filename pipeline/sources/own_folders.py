"""Datasets of ours below what a user names, finished or not: known by their marks, and no source unless named.

Else whoever makes shards in a folder below the photographs would convert the shards the next time, and a killed
conversion would take its own for its source.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.input_folder import InputFolder, folders_of_ours, named
from imagefeed.pipeline.files.marks import FINISHED, LOCK, MARKS, RECORDS
from imagefeed.pipeline.sources.image_table import IMAGE
from imagefeed.pipeline.sources.split_names import SPLITS


def without_ours(
    origin: InputFolder, files: pa.Table, is_source: Callable[[pa.Table], bool]
) -> tuple[pa.Table, tuple[str, ...]]:
    """The files that are meant by a listing, and what is to be said of others.

    Where `is_source` recognises what lies outside of our folders, that is meant; else the finished datasets. Raises
    `ValueError` where both may be, where images lie within a folder of ours, and for one that is not finished.
    """
    ours, root = folders_of_ours(files), origin.root
    begun = tuple(name.removesuffix(LOCK) for name in named(files, rf".*/\{LOCK}")["name"].to_pylist())
    files = files.filter(pa.array([not _said_of(name, begun) for name in files["name"].to_pylist()], pa.bool_()))
    if not ours:
        return files, ()
    for folder in ours:
        within = named(files.filter(pc.starts_with(files["name"], folder)), f"(?:{_quoted(folder)})[^/]+/{IMAGE}")
        deeper = tuple(each for each in ours if each != folder and each.startswith(folder))
        if mixed := [name for name in within["name"].to_pylist() if not name.startswith(deeper)]:
            raise ValueError(
                f"{origin.path(folder)} holds both what imagefeed has written ({_what(ours[folder])}) and images "
                f"({mixed[0]}): move one of them elsewhere, and name what is meant"
            )
    if "" in ours:
        if ours[""] == RECORDS:
            raise ValueError(f"{root} is {_what(RECORDS)}: run that again first, or name its source")
        return files.filter(_outside(files, tuple(each for each in ours if each))), ()
    rest = files.filter(_outside(files, tuple(ours)))
    if is_source(rest):
        if splits := [folder for folder in ours if folder.rstrip("/") in SPLITS]:
            raise ValueError(
                f"{root} holds both what imagefeed has written ({splits[0]}: {_what(ours[splits[0]])}) and something "
                "else to convert: name the folder that is meant, or move one of them elsewhere"
            )
        first = next(iter(ours)).rstrip("/")
        also = f" and {len(ours) - 1} more" if len(ours) > 1 else ""
        return rest, (f"passed over: {first}{also}, which imagefeed has written: to convert that, name it",)
    if unfinished := [folder for folder, mark in ours.items() if mark == RECORDS]:
        raise ValueError(
            f"{origin.path(unfinished[0])} is {_what(RECORDS)}: run that again first, or name a folder beside it"
        )
    return files, ()


def _said_of(name: str, begun: tuple[str, ...]) -> bool:
    """Whether a row is a mark, or a folder that is empty because a conversion has just begun there."""
    return name.rpartition("/")[2] in MARKS or (name.endswith("/") and name.startswith(begun))


def _outside(files: pa.Table, folders: tuple[str, ...]) -> pa.Array:
    return pa.array([not name.startswith(folders) for name in files["name"].to_pylist()], pa.bool_())


def _quoted(folder: str) -> str:
    return "".join(each if each.isalnum() or each in "/_-" else f"\\x{{{ord(each):x}}}" for each in folder)


def _what(mark: str) -> str:
    return "a dataset" if mark == FINISHED else "a conversion that has not finished"
