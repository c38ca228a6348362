"""Where a source lies, a folder or single files, here or at a URL: what is there, and ranges of it.

Names of files are relative to the root, with `/` between their parts, so that a source says the same wherever it lies.
"""

import fnmatch
import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.object_store import FileInfo, ObjectStore, StorageOptions, is_url, stamp_of
from imagefeed.pipeline.files.ranged import AHEAD, Readable
from imagefeed.pipeline.files.wildcards import braces
from imagefeed.pipeline.runtime.os_errors import doing, explained

FILES = pa.schema(
    [
        ("name", pa.string()),  # relative to the root
        ("size", pa.int64()),  # bytes
        ("stamp", pa.int64()),  # of size and time, or a server's mark: another when the file is; 0: nobody says
    ]
)
NOT_DATA = {"__pycache__", "node_modules", "site-packages"}  # folders of programs: what lies there is no source
ENVIRONMENT = "pyvenv.cfg"  # marks the folder of a Python environment
REQUESTS = 16  # at once, of one process: they wait for the server far longer than for the network


@dataclass(frozen=True)
class LocalInput:
    """A place on this machine."""

    root: str  # absolute

    def path(self, name: str) -> str:
        """A file as messages name it."""
        return os.path.join(self.root, name)

    def batches(self) -> Iterator[list[FileInfo]]:
        """The files below, a folder at a time, but those of programs and what begins with a dot.

        Raises `OSError` where a folder cannot be listed: what it holds would be missing.
        """
        for folder, below, files in os.walk(self.root, onerror=_not_listed, followlinks=True):
            if ENVIRONMENT in files and folder != self.root:
                below.clear()
                continue
            below[:] = sorted(name for name in below if not _passed_over(name))
            prefix = "" if folder == self.root else os.path.relpath(folder, self.root) + "/"
            found = []
            for file in files:
                if not file.startswith("."):
                    found.append(_found(prefix + file, os.stat(os.path.join(folder, file))))
            yield found

    def found(self, name: str) -> FileInfo:
        """One file. Raises `FileNotFoundError`."""
        path = self.path(name)
        try:
            with doing("read", path):
                found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path}: no such file or folder") from error
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(f"{path}: no such file")
        return _found(name, found)

    def read(self, name: str) -> bytes:
        """The whole of a small file."""
        with doing("read", self.path(name)):
            return Path(self.path(name)).read_bytes()

    @contextmanager
    def open(self, name: str, size: int, ahead: int = AHEAD) -> Iterator[Readable]:
        """A file of `size` bytes, to have ranges of it read."""
        with doing("read", self.path(name)), open(self.path(name), "rb", buffering=0) as file:
            yield file.fileno()


@dataclass(frozen=True)
class RemoteInput:
    """A place at a URL."""

    storage: ObjectStore

    @property
    def root(self) -> str:
        """The URL."""
        return self.storage.url

    def path(self, name: str) -> str:
        """A file as messages name it."""
        return self.storage.name(name)

    def batches(self) -> Iterator[list[FileInfo]]:
        """The files below, a folder at a time, but those of programs and what begins with a dot."""
        with ThreadPoolExecutor(REQUESTS) as pool:
            waiting = [""]
            while waiting:
                answers = list(pool.map(self.storage.folder, waiting))
                answers = [
                    (files, bare, folders)
                    for folder, (files, bare, folders) in zip(waiting, answers, strict=True)
                    if not folder or f"{folder}/{ENVIRONMENT}" not in {*bare, *(each.name for each in files)}
                ]
                waiting = [each for _, _, folders in answers for each in folders if not _passed_over(each)]
                for files, bare, _ in answers:
                    described = pool.map(self.storage.found, [name for name in bare if not _hidden(name)])
                    yield [*(each for each in files if not _hidden(each.name)), *described]

    def found(self, name: str) -> FileInfo:
        """One file. Raises what `ObjectStore` does."""
        return self.storage.found(name)

    def read(self, name: str) -> bytes:
        """The whole of a small file."""
        return self.storage.read(name)

    @contextmanager
    def open(self, name: str, size: int, ahead: int = AHEAD) -> Iterator[Readable]:
        """A file of `size` bytes, to have ranges of it read; each request brings `ahead` bytes at least."""
        yield Ahead(self.storage, name, size, ahead)


InputFolder = LocalInput | RemoteInput


class Ahead:
    """A file elsewhere that is read from front to back with gaps: each request brings `ahead` bytes at least."""

    def __init__(self, storage: ObjectStore, name: str, size: int, ahead: int) -> None:
        self._storage, self._name, self._size, self._ahead = storage, name, size, ahead
        self._start, self._data = 0, b""

    def pread(self, size: int, offset: int) -> bytes:
        """See `RangedFile`."""
        stop = min(offset + size, self._size)
        if offset < self._start or stop > self._start + len(self._data):
            self._data = b""  # two of them need not be here at once
            wanted = min(max(size, self._ahead), max(self._size - offset, 0))
            self._start, self._data = offset, self._storage.part(self._name, offset, wanted)
        return self._data[offset - self._start : stop - self._start]


def input_folder_at(root: str) -> InputFolder:
    """The place at an absolute path or a URL."""
    return RemoteInput(ObjectStore(root, StorageOptions())) if is_url(root) else LocalInput(root)


def list_files(where: str) -> tuple[InputFolder, pa.Table]:
    """What a user names: the place and a table of its files (`FILES`), sorted by name.

    A folder stands for all that is below it; a file, and several by braces and wildcards, for themselves. Raises
    `FileNotFoundError` where something is missing, or matches nothing.
    """
    where = where.removeprefix("file://")
    if not is_url(where):
        where = os.path.abspath(where)
        if os.path.isdir(where):
            origin: InputFolder = input_folder_at(where)
            return origin, table_of(origin.batches())
    elif not re.search(r"[{*?\[]", where) and not _has_suffix(where):
        origin = input_folder_at(where.rstrip("/"))
        return origin, table_of(origin.batches())
    root, names = _names(where)
    origin = input_folder_at(root)
    if any(re.search(r"[*?\[]", name) for name in names) and not os.path.exists(where):
        every = table_of(origin.batches())
        patterns = "|".join(fnmatch.translate(name) for name in names)
        files = every.filter(pa.array([re.match(patterns, name) is not None for name in every["name"].to_pylist()]))
        if not len(files):
            raise FileNotFoundError(f"{where}: no file matches")
        return origin, files
    with ThreadPoolExecutor(REQUESTS) as pool:
        return origin, table_of([list(pool.map(origin.found, names))])


def _names(where: str) -> tuple[str, list[str]]:
    """The folder of one or several files, and their names in it."""
    head = re.split(r"[{*?\[]", where, maxsplit=1)[0] if not os.path.exists(where) else where
    root = head.rpartition("/")[0] or "/"
    rest = where[len(root) :].lstrip("/")
    return root, [rest] if os.path.exists(where) else list(braces(rest))


def table_of(batches: Iterator[list[FileInfo]] | list[list[FileInfo]]) -> pa.Table:
    """Files as a table (`FILES`), sorted by name; a folder at a time, so that Python never holds all of them."""
    tables = []
    for batch in batches:
        if batch:
            columns = zip(*batch, strict=True)
            arrays = [pa.array(column, each.type) for column, each in zip(columns, FILES, strict=True)]
            tables.append(pa.table(arrays, FILES))
    return pa.concat_tables([FILES.empty_table(), *tables]).sort_by("name").combine_chunks()


def below(files: pa.Table, folder: str) -> pa.Table:
    """The files whose name begins with `folder` and a stroke."""
    return files.filter(pc.starts_with(files["name"], f"{folder}/"))


def named(files: pa.Table, pattern: str) -> pa.Table:
    """The files whose whole name matches a regular expression (RE2)."""
    return files.filter(pc.match_substring_regex(files["name"], f"^(?:{pattern})$"))


def stamp_here(status: os.stat_result) -> int:
    """The stamp of a file of this machine. Its size is in it, because tools that copy files may set their times."""
    return stamp_of(status.st_mtime_ns, status.st_size)


def _found(name: str, status: os.stat_result) -> FileInfo:
    return FileInfo(name, status.st_size, stamp_here(status))


def _not_listed(error: OSError) -> NoReturn:
    raise explained(error, "listed", error.filename) from error


def _hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def _passed_over(folder: str) -> bool:
    return _hidden(folder) or folder.rpartition("/")[2] in NOT_DATA


def _has_suffix(url: str) -> bool:
    """Whether a URL names a file: its last part has a suffix of letters."""
    return re.search(r"\.[A-Za-z]{2,8}$", url.rpartition("/")[2]) is not None
