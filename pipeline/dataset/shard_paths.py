"""What a user means by a path: shards, a file, a folder of them, or several by wildcards; a split, or all of them."""

import os
import re
from pathlib import Path

from imagefeed.pipeline.dataset.manifest import MANIFEST, RECORDS, splits_in
from imagefeed.pipeline.files.wildcards import braces, matches
from imagefeed.pipeline.runtime.os_errors import doing

SUFFIXES = (".tar", ".beton")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


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


def splits_at(path: str) -> dict[str, str]:
    """The splits that `path` stands for, by their names below it: itself (""), or where it is the output folder of a
    conversion, all that are in it.

    A path that is neither stands for itself, so that whoever opens it says what is wrong. Raises as `shards_of`.
    """
    folder = Path(path)
    names = splits_in(folder) if folder.is_dir() and not (folder / MANIFEST).is_file() else []
    if not names or shards_of(path):
        return {"": path}
    return {name: str(folder / name) for name in names}


def in_folder(folder: Path) -> list[Path]:
    """The shards directly in a folder, and what looks like compressed ones; none while a conversion writes there."""
    if (folder / RECORDS).is_dir():
        return []
    endings = (*SUFFIXES, *COMPRESSED)
    with doing("listed", folder):
        files = list(folder.iterdir())
    return [file for file in files if file.name.endswith(endings) and not file.name.startswith(".")]
