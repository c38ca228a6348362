"""A folder of files from elsewhere, bounded, which the processes of a machine share without knowing of each other.

A file is named by its SHA-256: two datasets never mix, and one that was changed at its source is another file. While
it is fetched it is `<sha256>.part`, and then renamed. All agreement is by the locks of `locks.py`:

- whoever fetches a file holds its .part exclusively, so that it is fetched once; one that nobody holds is rubbish;
- whoever uses a file holds it shared. A map keeps the lock of the file that it was made from, also when that is
  closed, so a mapped file stays locked until the map is gone, at the cost of no descriptor;
- whoever makes room holds `lock`, and evicts what nobody holds, least recently opened first.

So what lies in the folder is all there is: no deleted file goes on taking room on the disk unseen.
"""

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from imagefeed.pipeline.files.locks import try_lock, wait_lock
from imagefeed.pipeline.files.object_store import POLL, Cancelled, never
from imagefeed.pipeline.runtime.os_errors import doing

FILE = re.compile(r"[0-9a-f]{64}(\.part)?")
PART = ".part"
GB = 10**9
CURE = "make room there, or give the cache another folder on a local disk (IMAGEFEED_HOME, or its option `folder`)"


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Where shards from elsewhere are kept, and how many of them."""

    folder: Path | None = None
    """On a local disk; by default $IMAGEFEED_HOME/remote."""
    gigabytes: float = 100.0
    """Room for shards, 10**9 bytes each; less where the disk has less. Tables (tens of MB a split) are not counted."""
    patience: float = 300.0
    """Seconds to wait for other processes, without any progress of theirs, before that is an error."""

    def __post_init__(self) -> None:
        if self.gigabytes <= 0 or self.patience <= 0:
            raise ValueError(f"the cache's gigabytes and patience must be above 0: {self}")

    @property
    def num_bytes(self) -> int:
        return int(self.gigabytes * GB)


class Wanted(NamedTuple):
    """A file to have: by its SHA-256 (hexadecimal) and size (bytes); `fetch()` gives its bytes in pieces.

    Of a file whose SHA-256 nobody knows, not `checked`, the digest is that of what is known of it.
    """

    digest: str
    size: int
    fetch: Callable[[], Iterable[bytes]]
    name: str  # in messages
    checked: bool = True


class Cache:
    """The files in `folder`, which is made. Any number of threads and processes may use any number of these at once."""

    def __init__(self, folder: Path, options: CacheOptions) -> None:
        self.folder, self.options = folder, options
        with doing("made", folder, CURE):
            folder.mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return f"the cache {self.folder} of {self.capacity() / GB:.3g} GB"

    def path(self, digest: str) -> Path:
        """Where the file with this SHA-256 (hexadecimal) lies, if it is here."""
        return self.folder / digest

    def capacity(self) -> int:
        """Bytes that could be kept here, all of them, if nobody used any now."""
        used = sum(status.st_size for _, status in self._files())
        return min(self.options.num_bytes, used + shutil.disk_usage(self.folder).free)

    def open(self, wanted: Wanted, cancelled: Callable[[], bool] = never) -> BinaryIO:
        """A file, fetched unless it is here; it is not evicted while it is open.

        Raises `ValueError` where its bytes are others, twice; `OSError` where there is no room; `TimeoutError` where
        another process that fetches it does not get on; `Cancelled` once `cancelled()`; and what `fetch` raises.
        Nothing half-written is ever found.
        """
        waiting = Waiting(self.options.patience, cancelled)
        with doing("written", self.folder, CURE):
            while True:
                file = self._find(wanted, waiting) or self._make(wanted, waiting)
                if file is not None:
                    return file

    def _find(self, wanted: Wanted, waiting: "Waiting") -> BinaryIO | None:
        """The file if it is here, held; None where it is not, or not any more."""
        path = self.path(wanted.digest)
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open(path, "rb"))
            except FileNotFoundError:
                return None
            if not try_lock(file, shared=True):  # it is being renamed or evicted: a moment
                waiting.pause(None, f"{path} is locked by a process that does not get on")
                return None
            status = os.fstat(file.fileno())
            if status.st_nlink and status.st_size == wanted.size:
                os.utime(file.fileno())
                stack.pop_all()
                return file
        if status.st_nlink and not evict(path):
            raise ValueError(f"{path} has {status.st_size} bytes and not {wanted.size}: end those who use it")
        return None

    def _make(self, wanted: Wanted, waiting: "Waiting") -> BinaryIO | None:
        """The file, fetched and held; None where another process was at it or has just finished it: look again."""
        part = self.folder / f"{wanted.digest}{PART}"
        with ExitStack() as stack:
            file = stack.enter_context(open(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b"))
            if not try_lock(file):
                progress = os.fstat(file.fileno()).st_mtime_ns
                waiting.pause(progress, f"{wanted.name} is being fetched by another process, which does not get on")
            elif is_at(file, part) and self._fill(file, part, wanted, waiting):
                stack.pop_all()
                file.seek(0)
                return file
        return None

    def _fill(self, file: BinaryIO, part: Path, wanted: Wanted, waiting: "Waiting") -> bool:
        """Makes `part`, which is open as `file` and held exclusively, the finished file; whether it still is that."""
        path = self.path(wanted.digest)
        try:
            if path.exists():  # finished by another process after we had looked
                part.unlink()
                return False
            self._reserve(file, wanted, waiting)
            write_checked(file, wanted)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        os.rename(part, path)
        wait_lock(file, shared=True)
        return os.fstat(file.fileno()).st_nlink > 0  # it may be evicted between the two locks

    def _reserve(self, file: BinaryIO, wanted: Wanted, waiting: "Waiting") -> None:
        """Gives `file`, made empty, its size on the disk, once there is room for it."""
        what = f"{wanted.name} ({wanted.size:,} bytes)"
        while True:
            with self._alone(waiting.cancelled):
                file.truncate(0)
                if wanted.size > self.capacity():
                    raise OSError(errno.ENOSPC, f"{what} is more than {self} can hold: give it more room")
                used, limit = self._make_room(wanted.size)
                if used + wanted.size <= limit:
                    allocate(file, wanted.size)
                    return
            waiting.pause(
                used,
                f"{self} has no room for {what} while {used:,} bytes are in use: give it more, or a folder of its own "
                "to each job",
            )

    def _make_room(self, size: int) -> tuple[int, int]:
        """Evicts until `size` more bytes fit, if it can; returns the bytes that are left here and those allowed."""
        found = list(self._files())
        used, limit = sum(status.st_size for _, status in found), self.capacity()
        for path, status in sorted(found, key=lambda each: each[1].st_mtime_ns):
            if (path.suffix == PART or used + size > limit) and evict(path):
                used -= status.st_size
        return used, limit

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for entry in os.scandir(self.folder):
            if FILE.fullmatch(entry.name):
                try:
                    yield Path(entry.path), entry.stat()
                except FileNotFoundError:  # evicted meanwhile
                    continue

    @contextmanager
    def _alone(self, cancelled: Callable[[], bool]) -> Iterator[None]:
        waiting = Waiting(self.options.patience, cancelled)
        with open(self.folder / "lock", "w") as file:
            while not try_lock(file):
                waiting.pause(None, f"the cache {self.folder} is locked by a process that does not get on")
            yield


class Waiting:
    """A wait for others that ends in `TimeoutError` after `patience` seconds in which nothing has changed."""

    def __init__(self, patience: float, cancelled: Callable[[], bool]) -> None:
        self._patience, self.cancelled = patience, cancelled
        self._seen: object = self  # equal to nothing
        self._since = 0.0

    def pause(self, state: object, complaint: str) -> None:
        """Waits a moment; `state` changes when the others get on."""
        if self.cancelled():
            raise Cancelled
        now = time.monotonic()
        if state != self._seen:
            self._seen, self._since = state, now
        if now - self._since > self._patience:
            raise TimeoutError(f"{complaint} (waited {self._patience:g} s)")
        time.sleep(POLL)


def write_checked(file: BinaryIO, wanted: Wanted) -> None:
    """Fills `file` and syncs it. Bytes with another SHA-256 are fetched once more, then they are a `ValueError`."""
    for _ in range(2):
        file.seek(0)
        hashed = hashlib.sha256()
        for chunk in wanted.fetch():
            file.write(chunk)
            hashed.update(chunk)
        if hashed.hexdigest() == wanted.digest or (not wanted.checked and file.tell() == wanted.size):
            file.flush()
            os.fsync(file.fileno())
            return
    raise ValueError(
        f"{wanted.name} is not what the manifest says: its SHA-256 is {hashed.hexdigest()[:16]}... and not "
        f"{wanted.digest[:16]}...: upload the split again, the manifest last"
    )


def evict(path: Path) -> bool:
    """Removes a file unless somebody holds it; whether it is gone."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except FileNotFoundError:
            return True
        if not try_lock(file):
            return False
        if is_at(file, path):
            path.unlink()
        return True


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still what `path` names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def allocate(file: BinaryIO, size: int) -> None:
    """Gives `file` its blocks on the disk now: a disk that is full says so before anything is fetched."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        file.truncate(size)
