"""What a user means by a path to shards: a file, a folder of them, or several by braces and wildcards."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.records import FOLDER as RECORDS

SUFFIXES = (".tar", ".beton")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MOST = 1_000_000  # files by braces; more is a slip of the finger


def shards_of(path: str | Path) -> list[Path]:
    """The shards that `path` stands for, absolute and sorted by path, so that their order does not depend on how they
    were named; none where it is no file and a folder without tars or betons.

    A folder stands for the tars, or the betons, directly in it. `{000..146}` counts, `{a,b}` lists, `*`, `?` and `[ab]`
    match. Raises `FileNotFoundError` where one of several is missing or nothing matches, `ValueError` for files of
    both formats, or of another.
    """
    text = os.fspath(path)
    if Path(text).is_dir():
        found = in_folder(Path(text))
    elif Path(text).exists() or not re.search(r"[{*?\[]", text):
        found = [Path(text)] if Path(text).exists() else []
    else:
        found = [file for each in braces(text) for file in matches(each)]
    for file in found:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file")
        if file.name.endswith(COMPRESSED):
            raise ValueError(f"{file} is compressed, so nothing in it can be read in place: decompress it first")
        if file.suffix not in SUFFIXES:
            raise ValueError(f"{file} is neither a .tar nor a .beton, nor the folder of a split")
    suffixes = {file.suffix: file for file in found}
    if len(suffixes) > 1:
        raise ValueError(f"{text} has tars and betons ({', '.join(map(str, suffixes.values()))}): name one kind by *")
    return sorted({file.absolute() for file in found})


def in_folder(folder: Path) -> list[Path]:
    """The shards directly in a folder, and what looks like compressed ones; none while a conversion writes there."""
    if (folder / RECORDS).is_dir():
        return []
    endings = (*SUFFIXES, *COMPRESSED)
    return [file for file in folder.iterdir() if file.name.endswith(endings) and not file.name.startswith(".")]


def matches(pattern: str) -> list[Path]:
    """The files that match. Raises `FileNotFoundError` where there is none."""
    found = glob.glob(pattern) if glob.has_magic(pattern) else [pattern]
    if not found:
        raise FileNotFoundError(f"{pattern}: no file matches")
    return [Path(file) for file in found]


def braces(text: str) -> Iterator[str]:
    """`a{1,2}b` and `a{08..10}b` written out, from left to right, as shells and WebDataset do.

    A number begins with zeros where one of the ends does. Raises `ValueError` for braces that are neither.
    """
    group = re.search(r"\{([^{}]*)\}", text)  # an innermost one
    if group is None:
        if "{" in text:
            raise ValueError(f"{text}: a brace is not closed")
        yield text
        return
    count = re.fullmatch(r"(\d+)\.\.(\d+)", group[1])
    if count:
        first, last = int(count[1]), int(count[2])
        width = max(map(len, count.groups())) if any(end[0] == "0" and len(end) > 1 for end in count.groups()) else 0
        if not first <= last < first + MOST:
            raise ValueError(f"{text}: {group[0]} counts from {first} to {last}")
        parts = [f"{number:0{width}}" for number in range(first, last + 1)]
    elif "," in group[1]:
        parts = group[1].split(",")
    else:
        raise ValueError(f"{text}: {group[0]} is neither a count like {{000..146}} nor a list like {{a,b}}")
    for part in parts:
        yield from braces(text[: group.start()] + part + text[group.end() :])
