"""Where a source lies, a folder or single files, here or at a URL: what is there, and ranges of it.

Names of files are relative to the root, with `/` between their parts, so that a source says the same wherever it lies.
A listing also says what no file tells: a name that ends with `/` is a folder with nothing in it, one of `marks.MARKS`
says that the folder is one that imagefeed writes to, and a size of -1 that there is no file to read.
"""

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.marks import MARKS, marks_of
from imagefeed.pipeline.files.object_store import FileInfo, ObjectStore, StorageOptions, is_url, stamp_of
from imagefeed.pipeline.files.ranged import AHEAD, Readable
from imagefeed.pipeline.files.text import name_bytes, name_of
from imagefeed.pipeline.files.wildcards import braces
from imagefeed.pipeline.runtime.os_errors import cure_of, doing

FILES = pa.schema(
    [
        ("name", pa.string()),  # relative to the root
        ("size", pa.int64()),  # bytes; -1 for a dead link, a pipe, a device
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

    def real(self, name: str) -> str:
        """A file as the system opens it, whatever the locale."""
        path = os.path.join(os.fsencode(self.root), name.encode("utf-8", "surrogateescape"))
        if b"\\x" in path and not os.path.lexists(path):
            path = os.path.join(os.fsencode(self.root), name_bytes(name))
        return os.fsdecode(path)

    def batches(self) -> Iterator[list[FileInfo]]:
        """The files below, a folder at a time, but those of programs and what begins with a dot.

        A link to a folder that it lies in is passed over: what is there is listed already. Raises `OSError` with the
        folder that cannot be listed, `ValueError` for two names that are one in UTF-8.
        """
        root = os.fsencode(self.root)
        waiting: list[tuple[bytes, str, tuple[os.stat_result, ...]]] = [(root, "", (os.stat(root),))]
        while waiting:
            path, prefix, above = waiting.pop()
            try:
                with os.scandir(path) as listing:
                    entries = [(name_of(entry.name), entry) for entry in listing]
                names = {name for name, _ in entries}
                if len(names) < len(entries):
                    raise ValueError(f"{self.path(prefix)}: two names in it are one in UTF-8: rename one of them")
                if ENVIRONMENT in names and prefix:
                    continue
                found = [FileInfo(prefix + mark, 0, 0) for mark in marks_of(names)]
                for name, entry in entries:
                    if name.startswith("."):
                        continue
                    status = _status(entry)
                    if status is None or not stat.S_ISDIR(status.st_mode):
                        found.append(_found(prefix + name, status))
                    elif not _passed_over(name) and not any(os.path.samestat(status, each) for each in above):
                        waiting.append((entry.path, f"{prefix}{name}/", (*above, status)))
            except OSError as error:
                where = name_of(os.fsencode(error.filename or path))
                why = f"{error.strerror}; what lies there would be missing: {cure_of(error)}"
                raise OSError(error.errno, f"{where} cannot be listed: {why}") from error
            yield [*found, *_nothing_in(prefix, names)]

    def found(self, name: str) -> FileInfo:
        """One file. Raises `FileNotFoundError`."""
        try:
            with doing("read", self.path(name)):
                status = os.stat(self.real(name))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{self.path(name)}: no such file or folder") from error
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(f"{self.path(name)}: no such file")
        return _found(name, status)

    def read(self, name: str) -> bytes:
        """The whole of a small file."""
        with doing("read", self.path(name)):
            return Path(self.real(name)).read_bytes()

    @contextmanager
    def open(self, name: str, size: int, ahead: int = AHEAD) -> Iterator[Readable]:
        """A file of `size` bytes, to have ranges of it read."""
        with doing("read", self.path(name)), open(self.real(name), "rb", buffering=0) as file:
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
                kept = [
                    (folder, (files, bare, folders))
                    for folder, (files, bare, folders) in zip(waiting, answers, strict=True)
                    if not folder or f"{folder}/{ENVIRONMENT}" not in {*bare, *(each.name for each in files)}
                ]
                waiting = [each for _, (_, _, folders) in kept for each in folders if not _passed_over(each)]
                for folder, (files, bare, folders) in kept:
                    prefix = f"{folder}/" if folder else ""
                    names = [name[len(prefix) :] for name in (*(each.name for each in files), *bare, *folders)]
                    described = pool.map(self.storage.found, [name for name in bare if not _hidden(name)])
                    yield [
                        *(each for each in files if not _hidden(each.name)),
                        *described,
                        *(FileInfo(prefix + mark, 0, 0) for mark in marks_of(names)),
                        *_nothing_in(prefix, names),
                    ]

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

    A folder stands for all that is below it; a file, and several by braces and wildcards, for themselves: of folders
    that imagefeed writes to only where they are named without a wildcard. Raises `FileNotFoundError` where something is
    missing, or matches nothing.
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
        ours = [folder for folder in folders_of_ours(every) if not any(name.startswith(folder) for name in names)]
        found = [
            re.match(patterns, name) is not None and not name.startswith(tuple(ours)) and not _is_said(name)
            for name in every["name"].to_pylist()
        ]
        if not any(found):
            beside = f", but perhaps in {origin.path(ours[0])}, which imagefeed has written: name it" if ours else ""
            raise FileNotFoundError(f"{where}: no file matches{beside}")
        return origin, every.filter(pa.array(found))
    with ThreadPoolExecutor(REQUESTS) as pool:
        return origin, table_of([list(pool.map(origin.found, names))])


def has_pattern(where: str) -> bool:
    """Whether a path or URL stands for several files that it does not name one by one."""
    return re.search(r"[{*?\[]", where) is not None and not os.path.exists(where)


def _names(where: str) -> tuple[str, list[str]]:
    """The folder of one or several files, and their names in it."""
    head = re.split(r"[{*?\[]", where, maxsplit=1)[0] if not os.path.exists(where) else where
    root = head.rpartition("/")[0] or "/"
    rest = where[len(root) :].lstrip("/")
    if not is_url(where):
        rest = name_of(os.fsencode(rest))
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


def folders_of_ours(files: pa.Table) -> dict[str, str]:
    """The folders below the root, or it itself, that hold a dataset of ours: `a/b/`, "" for the root, and the mark."""
    found: dict[str, str] = {}
    for mark in MARKS[:2]:
        for name in files["name"].filter(pc.ends_with(files["name"], mark)).to_pylist():
            if name.rpartition("/")[2] == mark:
                found.setdefault(name.removesuffix(mark), mark)
    return dict(sorted(found.items()))


def named(files: pa.Table, pattern: str) -> pa.Table:
    """The files whose whole name matches a regular expression (RE2)."""
    return files.filter(pc.match_substring_regex(files["name"], f"(?s)^(?:{pattern})$"))


def stamp_here(status: os.stat_result) -> int:
    """The stamp of a file of this machine. Its size is in it, because tools that copy files may set their times."""
    return stamp_of(status.st_mtime_ns, status.st_size)


def _found(name: str, status: os.stat_result | None) -> FileInfo:
    if status is None or not stat.S_ISREG(status.st_mode):
        return FileInfo(name, -1, 0)
    return FileInfo(name, status.st_size, stamp_here(status))


def _status(entry: os.DirEntry[bytes]) -> os.stat_result | None:
    """Of what an entry is or leads to; None for a dead link."""
    try:
        return entry.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and entry.is_symlink():
            return None
        raise


def _nothing_in(folder: str, names: Collection[str]) -> list[FileInfo]:
    """The row for a folder, `a/b/` and not the root, that holds these names, if all of them are hidden."""
    return [FileInfo(folder, 0, 0)] if folder and all(map(_hidden, names)) else []


def _is_said(name: str) -> bool:
    """Whether a row of a listing is no file."""
    return name.endswith("/") or name.rpartition("/")[2] in MARKS


def _hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def _passed_over(folder: str) -> bool:
    return _hidden(folder) or folder.rpartition("/")[2] in NOT_DATA


def _has_suffix(url: str) -> bool:
    """Whether a URL names a file: its last part has a suffix of letters."""
    return re.search(r"\.[A-Za-z]{2,8}$", url.rpartition("/")[2]) is not None
