"""Paths with braces and wildcards, written out."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from imagefeed.pipeline.runtime.os_errors import doing

MOST = 1_000_000  # files by braces; more is a slip of the finger


def matches(pattern: str) -> list[Path]:
    """The files that match. Raises `FileNotFoundError` where there is none, and `OSError` where a folder that may hold
    one cannot be listed, which Python's own `glob` passes over."""
    found = _matches(pattern) if glob.has_magic(pattern) else [pattern]
    if not found:
        raise FileNotFoundError(f"{pattern}: no file matches")
    return [Path(file) for file in found]


def _matches(pattern: str) -> list[str]:
    folder, name = os.path.split(pattern)
    folders = _matches(folder) if glob.has_magic(folder) else [folder]
    if not glob.has_magic(name):
        return [path for each in folders if os.path.lexists(path := os.path.join(each, name))]
    return [os.path.join(each, file) for each in folders for file in _listed(each, name)]


def _listed(folder: str, pattern: str) -> list[str]:
    """The names in a folder that match; none where it is no folder."""
    try:
        with doing("listed", folder or "."):
            names = os.listdir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    hidden = pattern.startswith(".")
    return [name for name in fnmatch.filter(names, pattern) if hidden or not name.startswith(".")]


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
