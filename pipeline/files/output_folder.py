"""Where a conversion writes: a folder on a disk or in an object store. A file is in it whole, or it is not there."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from imagefeed.pipeline.files.atomic import atomic, sweep
from imagefeed.pipeline.files.lease import lease
from imagefeed.pipeline.files.locks import exclusive
from imagefeed.pipeline.files.marks import LOCK
from imagefeed.pipeline.files.object_store import ObjectStore, StorageOptions, is_url
from imagefeed.pipeline.runtime.os_errors import FULL, doing

# Where an upload is seen when it is complete, and not before; elsewhere (sftp, http, ...) half a file has its name.
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")


class OutputFolder(Protocol):
    """A folder that shards, tables and the manifest go to. It is named in messages by `str`, and may be pickled."""

    def below(self, name: str) -> "OutputFolder":
        """The folder `name` in this one."""
        ...

    def new(self, name: str) -> AbstractContextManager[Path]:
        """Yields a path on this machine to write to; after the block the file is in the folder, under its name, instead
        of any that was there. If the block raises, the folder is as it was; `RuntimeError` where the disk is full."""
        ...

    def read(self, name: str) -> bytes | None:
        """What is in a file; None where it is not there."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes in a file; None where it is not there."""
        ...

    def names(self) -> list[str]:
        """The names of the files and folders in it; none where it is not there."""
        ...

    def discard(self, name: str) -> None:
        """Removes a file that is in it."""
        ...

    def remove(self) -> None:
        """Removes the folder, if there is one, with all that is in it."""
        ...

    def sweep(self) -> None:
        """Removes what killed runs left half-written. Only for whoever writes there alone."""
        ...

    def free(self) -> float:
        """Bytes that there is room for."""
        ...

    def lock(self) -> AbstractContextManager[Callable[[], None]]:
        """Locks the folder for one conversion; yields what raises `RuntimeError` if another has it all the same.

        Raises `RuntimeError` while another one holds it.
        """
        ...


def output_folder_at(path: str | Path) -> OutputFolder:
    """The folder at a path, which need not exist, or at a URL. `ValueError` where a URL cannot be written to."""
    if not is_url(path):
        return LocalOutput(Path(path).resolve())
    protocol = urlsplit(str(path)).scheme
    if protocol not in OBJECT_STORES:
        raise ValueError(
            f"{path}: {protocol}:// would show files while they are being written. Convert into a folder here and "
            f"copy it, manifest.json last, or into an object store ({', '.join(OBJECT_STORES)})"
        )
    return RemoteOutput(ObjectStore(str(path).rstrip("/"), StorageOptions()))


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """A full disk or quota becomes a `RuntimeError`: no `OSError`, which a cluster would answer with another attempt at
    once."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        what = "the disk is full; make room" if error.errno == errno.ENOSPC else "your quota is used up; make room"
        raise RuntimeError(f"{path}: {what} and run again, what is finished stays") from error


@dataclass(frozen=True)
class LocalOutput:
    """One on a file system of this machine, or one that all machines see under the same path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def below(self, name: str) -> "LocalOutput":
        return LocalOutput(self.path / name)

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        with full_disk_named(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with atomic(self.path / name) as path:
                yield path

    def read(self, name: str) -> bytes | None:
        try:
            with doing("read", self.path / name):
                return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []

    def discard(self, name: str) -> None:
        (self.path / name).unlink()

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        sweep(self.path)

    def free(self) -> float:
        path = self.path
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free

    @contextmanager
    def lock(self) -> Iterator[Callable[[], None]]:
        """By a lock that the kernel takes back when the process dies, where the file system has locks."""
        self.path.mkdir(parents=True, exist_ok=True)
        refusal = f"another conversion is writing to {self}: wait for it, or choose another folder"
        with exclusive(self.path / LOCK, refusal) as check:
            yield check


@dataclass(frozen=True)
class RemoteOutput:
    """One in an object store. A file is made in $TMPDIR, on the machine that makes it, and then uploaded."""

    storage: ObjectStore

    def __str__(self) -> str:
        return self.storage.url

    def below(self, name: str) -> "RemoteOutput":
        return RemoteOutput(ObjectStore(self.storage.name(name), self.storage.options))

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="imagefeed-") as scratch, full_disk_named(Path(scratch)):
            path = Path(scratch, name)
            with doing("written", path):
                yield path
            self.storage.put(path, name)

    def read(self, name: str) -> bytes | None:
        try:
            return self.storage.read(name)
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return self.storage.size(name)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        try:
            files, bare, folders = self.storage.folder()
        except FileNotFoundError:
            return []
        return [*(each.name for each in files), *bare, *folders]

    def discard(self, name: str) -> None:
        self.storage.below(name).remove()

    def remove(self) -> None:
        self.storage.remove()

    def sweep(self) -> None:
        """Nothing: what was not uploaded whole is no file."""

    def free(self) -> float:
        return float("inf")

    def lock(self) -> AbstractContextManager[Callable[[], None]]:
        return lease(self.storage.below(LOCK), str(self))
