"""Tar: written as WebDataset reads it, and scanned without unpacking.

Format: POSIX.1-1988 ustar with GNU long names. A sample is two adjacent members of the same stem,
`<key>.jpg` and `<key>.cls` (the label in decimal). All metadata is constant (time 0, no owner), so a tar is a
function of its samples.
"""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

BLOCK = 512  # bytes; headers and data are padded to it
END = bytes(2 * BLOCK)


class TarWriter:
    """Writes a shard; see `pipeline.formats` for the contract."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.write(END)

    def add(self, key: str, label: int, payload: bytes, height: int, width: int) -> int:
        """Stores `<key>.jpg` and `<key>.cls`; returns the offset of the JPEG, bytes."""
        offset = self._member(f"{key}.jpg", payload)
        self._member(f"{key}.cls", str(label).encode())
        return offset

    def _member(self, name: str, data: bytes) -> int:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._file.write(member.tobuf(tarfile.GNU_FORMAT))
        offset = self._file.tell()
        self._file.write(data)
        self._file.write(bytes(-len(data) % BLOCK))
        return offset


class Member(NamedTuple):
    """A regular file in a tar: where its data lie in the outermost file, bytes."""

    name: str
    offset: int
    size: int


def scan(read_at: Callable[[int, int], bytes], start: int, end: int, name: str) -> Iterator[Member]:
    """The regular files of the tar that occupies bytes `start` to `end` of a file, by reading headers alone.

    `read_at(offset, size)` returns bytes of that file; `name` is for messages. A tar within a tar is a range of
    the outer file, so it is scanned in place. Raises `ValueError` where a header is damaged or the tar is cut
    short, also exactly between two members: a whole tar ends with a block of zeros.
    """
    offset = start
    long_name = ""
    while True:
        header = read_at(offset, BLOCK) if offset + BLOCK <= end else b""
        if len(header) < BLOCK:
            raise ValueError(f"{name} is cut short at byte {offset} (no closing block): get the file again")
        if header.count(0) == BLOCK:
            return
        size = _size_of(header, name, offset)
        data = offset + BLOCK
        offset = data + size + -size % BLOCK
        if data + size > end:
            raise ValueError(f"{name} is cut short: a member at byte {data} ends {data + size - end} bytes after it")
        kind = header[156:157]
        if kind == b"L":  # GNU: the next member's name, too long for its header
            long_name = _text(read_at(data, size))
        elif kind == b"x":  # pax: the next member's attributes, of which only the name matters here
            long_name = _pax_path(read_at(data, size)) or long_name
        else:
            if kind in (b"0", b"\0"):
                yield Member(long_name or _name_of(header), data, size)
            long_name = ""


def _size_of(header: bytes, name: str, offset: int) -> int:
    """The member's size in bytes, after the header's checksum was found right."""
    field = header[124:136]
    try:
        checksum = int(_text(header[148:156]).strip() or "0", 8)
        size = int.from_bytes(field[1:], "big") if field[0] == 0x80 else int(_text(field).strip() or "0", 8)
    except ValueError:
        checksum, size = -1, 0
    if checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise ValueError(f"{name} is damaged: no tar header at byte {offset}; get the file again")
    return size


def _name_of(header: bytes) -> str:
    """The name in the header itself; ustar keeps the folders of a long one apart."""
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _pax_path(records: bytes) -> str:
    """The `path` among pax records, each `<length> <key>=<value>\\n`."""
    while records:
        length = int(records[: records.index(b" ")])
        key, _, value = records[:length].partition(b" ")[2].partition(b"=")
        if key == b"path":
            return value[:-1].decode("utf-8", "surrogateescape")
        records = records[length:]
    return ""


def _text(field: bytes) -> str:
    """A field up to its first NUL."""
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
