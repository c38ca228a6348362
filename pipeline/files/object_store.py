"""Files below a URL, through fsspec: asked for again with growing pauses, and never waited for without end.

Credentials, endpoints and proxies are given as fsspec and the protocol's package take them: environment, their
configuration files, `~/.config/fsspec`. No URL of ours carries any.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlsplit

import fsspec

from imagefeed.pipeline.runtime.parts import command

CHUNK = 2**23  # bytes of one request, at most; a server that knows no ranges sends the whole file at once
TRANSIENT = {408, 425, 429}  # of the HTTP statuses from 400 to 499: those that pass
POLL = 0.05  # seconds between two looks at whether anybody still waits
LONG = 40  # timeouts that a listing or an upload gets: many requests of the protocol in one of ours
STAMPS = (  # under which file systems tell that a file is another one now, the surest first; any one will do
    *("ETag", "etag", "md5Hash", "Content-MD5", "Digest"),
    *("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created"),
)

T = TypeVar("T")


class Cancelled(Exception):
    """Nobody wants any more what was being done."""


class NoRanges(ConnectionError):
    """The server sends whole files only."""


def never() -> bool:
    """Stands for a `cancelled` that never comes true."""
    return False


@dataclass(frozen=True, kw_only=True)
class StorageOptions:
    """How long a server is given."""

    timeout: float = 30.0
    """Seconds for one request of at most 8 MiB, from the look-up of the name to the last byte."""
    attempts: int = 5
    """How often a request is made before its failure is an error."""
    pause: float = 0.5
    """Seconds before the second attempt; twice as many before each further one, all less up to a half by chance."""

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.attempts < 1 or self.pause < 0:
            raise ValueError(f"timeout must be above 0, attempts at least 1 and pause not below 0: {self}")

    @property
    def patience(self) -> float:
        """Seconds after which a request has been answered or is an error; 157.5 by default."""
        return self.attempts * self.timeout + self.pause * (2 ** (self.attempts - 1) - 1)

    def pauses(self) -> Iterator[float]:
        """Seconds between the attempts. The chance keeps the ranks of a job from coming back all at once."""
        for number in range(self.attempts - 1):
            yield self.pause * 2**number * random.uniform(0.5, 1)


def is_url(place: object) -> bool:
    """Whether `place` is a URL rather than a path."""
    return isinstance(place, str) and "://" in place


class FileInfo(NamedTuple):
    """A file as a server describes it."""

    name: str  # relative to the storage's URL
    size: int  # bytes
    stamp: int  # changes when the file does; 0 where the server says nothing of the kind


@dataclass(frozen=True)
class ObjectStore:
    """The files directly below `url`.

    Every method raises `FileNotFoundError` or `PermissionError` at once, `ConnectionError` after the last attempt,
    `Cancelled` soon after `cancelled()` has come true (a request under way is waited for), each naming the file's URL.
    Protocols whose fsspec class is synchronous (few: memory, sftp) keep their own timeouts.
    """

    url: str
    options: StorageOptions

    def __post_init__(self) -> None:
        """Raises `ValueError` where no installed package knows the protocol, or where the URL carries a secret."""
        parts = urlsplit(self.url)
        if parts.password or (parts.scheme in ("http", "https") and (parts.query or parts.fragment)):
            raise ValueError(
                f"the URL at {parts.hostname} carries a password or a query, which would end up in messages: "
                "configure fsspec instead, see docs/remote.md"
            )
        try:
            self._root()
        except (ImportError, ValueError) as error:
            extra = f": {command('s3')}" if parts.scheme == "s3" else ""
            raise ValueError(f"{self.url}: fsspec cannot open {parts.scheme}:// here ({error}){extra}") from error

    def name(self, file: str) -> str:
        """The file's URL."""
        return f"{self.url.rstrip('/')}/{file}"

    def below(self, folder: str) -> "ObjectStore":
        """The files directly below a folder of this one."""
        return ObjectStore(self.name(folder), self.options)

    def read(self, file: str) -> bytes:
        """The whole of a small file."""
        return self._ask(file, "cat_file", never)

    def size(self, file: str) -> int:
        """Bytes in a file, as the server says. `ValueError` where it does not."""
        size = self._ask(file, "size", never)
        if not isinstance(size, int):
            raise ValueError(f"{self.name(file)}: the server does not say how large it is: use another server")
        return size

    def found(self, file: str) -> FileInfo:
        """A file's size and stamp. `ValueError` where the server does not say how large it is."""
        return _found(self.name(file), file, self._ask(file, "info", never))

    def folder(self, name: str = "") -> tuple[list[FileInfo], list[str], list[str]]:
        """What lies directly in a folder ("" for the URL itself): files; names of files of which the server lists the
        names alone, as those of http do; names of folders."""
        entries = self._ask(name, "ls", never, patience=LONG, detail=True)
        root, web = self._path(name), self._web()
        files, bare, folders = [], [], []
        for entry in entries:
            last = entry["name"].rstrip("/").rpartition("/")[2]
            if not last or entry["name"].rstrip("/") == root:  # a mark that stands for the folder itself
                continue
            if web and not {"?", "#"}.isdisjoint(last):  # a link that sorts the page in another way
                continue
            last = unquote(last) if web else last
            path = f"{name}/{last}" if name else last
            if entry["type"] == "directory":
                folders.append(path)
            elif entry.get("size") is None:
                bare.append(path)
            else:
                files.append(_found(self.name(path), path, entry))
        return files, bare, folders

    def part(self, file: str, start: int, size: int, cancelled: Callable[[], bool] = never) -> bytes:
        """`size` bytes of a file from `start` on, all of which are there.

        Raises `NoRanges` at the first answer of a server that knows none.
        """
        pieces = []
        for at in range(start, start + size, CHUNK):
            end = min(at + CHUNK, start + size)
            pieces.append(self._ask(file, "cat_file", cancelled, lengths=(end - at,), ranged=True, start=at, end=end))
        return b"".join(pieces)

    def put(self, path: Path, file: str) -> None:
        """Uploads a local file, in parts where it is large."""
        self._ask(file, "put_file", never, patience=LONG, before=(str(path),))

    def write(self, content: bytes, file: str) -> None:
        """Writes a small file."""
        self._ask(file, "pipe_file", never, after=(content,))

    def create(self, content: bytes, file: str) -> bool:
        """Writes a small file unless it is there already; of several that try at once one succeeds, where the store can
        do that (S3 and Google's can, and a folder)."""
        try:
            if urlsplit(self.url).scheme == "file":  # fsspec looks first and writes then: two would succeed
                with open(self._path(file), "xb") as new:
                    new.write(content)
                return True
            self._ask(file, "pipe_file", never, after=(content,), mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self) -> None:
        """Removes all files below the URL, if there are any."""
        try:
            self._ask("", "rm", never, patience=LONG, recursive=True)
        except FileNotFoundError:
            return

    def chunks(self, file: str, size: int, cancelled: Callable[[], bool] = never) -> Iterator[bytes]:
        """The first `size` bytes of a file, in order and in pieces."""
        position = 0
        while position < size:
            end = min(position + CHUNK, size)
            whole = size if position == 0 else end
            chunk = self._ask(file, "cat_file", cancelled, lengths=(end - position, whole), start=position, end=end)
            yield chunk
            position += len(chunk)

    def _root(self) -> tuple[Any, str]:
        """The file system, which fsspec keeps for each process (a fork needs another), and our place in it.

        It remembers no listing: what it says of a file would be of old, and it would hold a million files for ever.
        """
        known = fsspec.get_filesystem_class(urlsplit(self.url).scheme).async_impl  # others may not know the word
        system, root = fsspec.core.url_to_fs(self.url, **({"use_listings_cache": False} if known else {}))
        return system, root.rstrip("/")

    def _web(self) -> bool:
        """Whether names are parts of an http URL, where they are quoted."""
        return urlsplit(self.url).scheme in ("http", "https")

    def _path(self, file: str) -> str:
        """A file as the file system is asked for it."""
        _, root = self._root()
        return f"{root}/{quote(file) if self._web() else file}".rstrip("/")

    def _ask(
        self,
        file: str,
        method: str,
        cancelled: Callable[[], bool],
        lengths: tuple[int, ...] = (),
        patience: int = 1,
        ranged: bool = False,
        before: tuple[Any, ...] = (),
        after: tuple[Any, ...] = (),
        **arguments: Any,
    ) -> Any:
        """What a method of the file system returns for `file`, which stands between its arguments `before` and `after`;
        an answer of none of the `lengths` is a failure.

        `patience` times the timeout are given. An answer that is longer than a range (`ranged`) is one of a server that
        knows no ranges: to ask again would help nothing.
        """
        system, _ = self._root()
        limit = {"timeout": patience * self.options.timeout} if system.async_impl else {}

        def request() -> Any:
            answer = getattr(system, method)(*before, self._path(file), *after, **arguments, **limit)
            if ranged and len(answer) > lengths[0]:
                raise NoRanges(
                    f"{self.name(file)}: the server knows no ranges of bytes, it sent {len(answer)} bytes where "
                    f"{lengths[0]} were asked for (so does `python -m http.server`): use one that does, such as nginx, "
                    "Apache, Caddy or an object store, or copy the files here"
                )
            if lengths and len(answer) not in lengths:
                raise ConnectionError(f"{len(answer)} bytes came instead of {lengths[0]}")
            return answer

        return persist(request, self.name(file), self.options, cancelled)


def _found(name: str, file: str, described: Mapping[str, Any]) -> FileInfo:
    """What a file system's description says. `ValueError` where it does not say how large the file is."""
    size = described.get("size")
    if not isinstance(size, int):
        raise ValueError(f"{name}: the server does not say how large it is: use another server")
    stamp = next((described[key] for key in STAMPS if described.get(key) is not None), None)
    return FileInfo(file, size, 0 if stamp is None else stamp_of(str(stamp).strip('"'), size))


def stamp_of(*facts: object) -> int:
    """A number above 0, below 2**63, that is another one where any of the facts is."""
    digest = hashlib.sha256(repr(facts).encode()).digest()
    return (int.from_bytes(digest[:8], "little") >> 1) or 1


def persist(request: Callable[[], T], name: str, options: StorageOptions, cancelled: Callable[[], bool]) -> T:
    """The answer to the first attempt that succeeds."""
    began, pauses = time.monotonic(), options.pauses()
    while True:
        if cancelled():
            raise Cancelled
        try:
            return request()
        except (FileExistsError, NoRanges):
            raise
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{name} is not there: check the URL, or upload it again") from error
        except Exception as error:
            if isinstance(error, PermissionError) or status(error) in (401, 403):
                raise PermissionError(f"{name} is refused ({error}): docs/remote.md on credentials") from error
            pause = next(pauses, None)
            if pause is None or (400 <= status(error) < 500 and status(error) not in TRANSIENT):
                seconds = time.monotonic() - began
                raise ConnectionError(
                    f"{name} could not be fetched in {seconds:.1f} s, the last time because of "
                    f"{type(error).__name__} {error}: see that the server can be reached, then run the same again"
                ) from error
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0 and not cancelled():
            time.sleep(min(left, POLL))


def status(error: Exception) -> int:
    """The HTTP status that an error tells of, else 0."""
    found = getattr(error, "status", 0)
    return found if isinstance(found, int) else 0
