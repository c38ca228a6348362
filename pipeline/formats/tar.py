"""Tar: written as WebDataset reads it, and scanned without unpacking, its headers alone.

Written: POSIX.1-1988 ustar with GNU long names. A sample is two adjacent members of the same stem,
`<key>.jpg` and `<key>.cls` (the label in decimal). All metadata is constant (time 0, no owner), so a tar is a
function of its samples.

Scanned: ustar, GNU and pax, long names and sizes of each. What a stock reader would pass over in silence (a tar that is
cut short, two tars joined, links) is an error here. The scan is one compiled loop over `pread`: a map would end the
process where a file is cut short under it. Of a tar elsewhere the loop is handed pieces, and asks for the next one.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from numba import types

from imagefeed.pipeline.files.ranged import AHEAD, Readable, pread
from imagefeed.pipeline.image.stored import JPEG, RAW
from imagefeed.pipeline.jit.clib import bind, libc
from imagefeed.pipeline.jit.njit import njit

BLOCK = 512  # bytes; headers and data are padded to it
END = bytes(2 * BLOCK)
EMPTY = tarfile.TarInfo().tobuf(tarfile.GNU_FORMAT)
LONGEST_NAME, MOST_BYTES = 100, 8**11  # that a header itself has room for
SIZE_FIELD, SUM_FIELD = slice(124, 135), slice(148, 156)  # where in a header
# Of the other bytes; those of the sum itself count as blanks.
EMPTY_SUM = sum(EMPTY) - sum(EMPTY[SIZE_FIELD]) - sum(EMPTY[SUM_FIELD]) + sum(b" " * 8)
HEAD = 24  # bytes of each payload that the scan brings along: enough for a label in decimal, or to know a JPEG
BUFFER = 1 << 20  # bytes that are written at once
READ = 4096  # bytes a read at least, the page that the disk would bring anyway
LONGEST = 1 << 16  # bytes of a long name or of pax records that are believed
SUFFIXES = {
    b"\xff\xd8": "jpg",
    b"\x89PNG": "png",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"P5": "pgm",
    b"P6": "ppm",
}
BATCH = 1 << 16  # members that are scanned between two looks at the interpreter
ELSEWHERE = -1  # in place of a descriptor


class TarWriter:
    """Writes a shard; see `pipeline.formats.containers` for the contract."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", BUFFER)  # noqa: SIM115 - closed by __exit__
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.write(END)

    def add(self, key: str, label: int, payload: bytes | memoryview, kind: int, height: int, width: int) -> int:
        """Stores `<key>.jpg` and `<key>.cls`; returns the offset of the image, bytes.

        An image file of another kind has its own suffix, by which WebDataset knows how to decode it.
        """
        if kind == RAW:
            raise ValueError(f"{key}: raw pixels go into betons only")
        suffix = "jpg" if kind == JPEG else suffix_of(bytes(payload[:HEAD]))
        offset = self._member(f"{key}.{suffix}", payload)
        self._member(f"{key}.cls", str(label).encode())
        return offset

    def _member(self, name: str, data: bytes | memoryview) -> int:
        head, padding = header(name, len(data)), bytes(-len(data) % BLOCK)
        self._file.writelines((head, data, padding))
        offset = self._position + len(head)
        self._position = offset + len(data) + len(padding)
        return offset


def header(name: str, size: int) -> bytes:
    """What precedes `size` bytes of data: the blocks that the standard library writes, which is slower."""
    text = name.encode("utf-8", "surrogateescape")
    if len(text) > LONGEST_NAME or size >= MOST_BYTES:
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(tarfile.GNU_FORMAT)
    block, digits = bytearray(EMPTY), b"%011o" % size
    block[: len(text)] = text
    block[SIZE_FIELD] = digits
    block[SUM_FIELD] = b"%06o\0 " % (EMPTY_SUM + sum(text) + sum(digits))
    return bytes(block)


def suffix_of(head: bytes) -> str:
    """The suffix of an image file that begins with `head`."""
    return next((suffix for magic, suffix in SUFFIXES.items() if head.startswith(magic)), "jpg")


class Member(NamedTuple):
    """A regular file in a tar: where its data lie in the outermost file, bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Members:
    """The regular files of a tar, n of them, in its order; iterating gives `Member`s."""

    text: np.ndarray  # uint8: all the names, one after the other
    ends: np.ndarray  # int64 [n]: where each name ends in `text`
    offsets: np.ndarray  # int64 [n]: where the data lie in the outermost file, bytes
    sizes: np.ndarray  # int64 [n], bytes
    heads: np.ndarray  # uint8 [n, HEAD]: the first bytes of the data, then zeros

    def name(self, member: int) -> str:
        """The name of one of them; bytes that are not UTF-8 become surrogates."""
        start = self.ends[member - 1] if member else 0
        return self.text[start : self.ends[member]].tobytes().decode("utf-8", "surrogateescape")

    def names(self) -> pa.Array:
        """All the names, as `name` gives them but for bytes that are not UTF-8, which are escaped."""
        limits = np.zeros(len(self.ends) + 1, np.int64)
        limits[1:] = self.ends
        names = pa.LargeStringArray.from_buffers(len(self.ends), pa.py_buffer(limits), pa.py_buffer(self.text))
        try:
            names.validate(full=True)
        except pa.ArrowInvalid:
            escaped = (self.name(member).encode("utf-8", "surrogateescape") for member in range(len(self.ends)))
            names = pa.array([each.decode("utf-8", "backslashreplace") for each in escaped], pa.large_string())
        return names.cast(pa.string())

    def __iter__(self) -> Iterator[Member]:
        for member, (offset, size) in enumerate(zip(self.offsets.tolist(), self.sizes.tolist(), strict=True)):
            yield Member(self.name(member), offset, size)


MORE, WHOLE, CUT, CUT_MEMBER, DAMAGED, SPARSE, LINK, UNKNOWN, JOINED, WANT = range(10)
WHY = {
    CUT: "is cut short at byte {at} (no two closing blocks of zeros): get the file again",
    CUT_MEMBER: "is cut short: the member of the header at byte {at} ends {beyond} bytes after it; get the file again",
    DAMAGED: "is damaged: no tar header at byte {at}; get the file again",
    SPARSE: "has a sparse member at byte {at}, which cannot be read in place: write the tar without --sparse",
    LINK: "has a link at byte {at} where an image may be: write the tar with --dereference --hard-dereference",
    UNKNOWN: "has a member of a kind that is not read at byte {at}: write a tar of plain files",
    JOINED: "goes on after its closing blocks, at byte {at}, where no reader looks: it was joined to another tar, "
    "or is damaged; extract the two with `tar --ignore-zeros` and write one",
}
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

# Kinds of member, from the byte at 156 of a header.
FILES = (0, ord("0"), ord("7"))
LINKS = tuple(map(ord, "12"))
PASSED_OVER = tuple(map(ord, "3456V"))  # devices, folders, pipes; the label of a volume
LONG_NAME, LONG_LINK, PAX, PAX_OF_ALL, SPARSE_FILE = map(ord, "LKxgS")
USTAR, PATH, SIZE, SPARSE_KEY = (
    np.frombuffer(word, np.uint8) for word in (b"ustar\0", b"path", b"size", b"GNU.sparse.")
)


def scan(file: Readable, start: int, end: int, name: str) -> Members:
    """The regular files of the tar that occupies bytes `start` to `end` of a file.

    A tar within a tar is a range of the outer file, so it is scanned in place. `name` is for messages. Raises
    `ValueError` where a header is damaged, where the tar is cut short, also exactly between two members (a whole tar
    ends with two blocks of zeros), and for what could only be passed over: sparse files, links, a second tar behind the
    first, compression. Folders and devices are passed over.
    """
    head = pread(file, min(8, end - start), start)
    for magic, how in COMPRESSED.items():
        if head.startswith(magic):
            raise ValueError(f"{name} is compressed ({how}), so nothing in it can be read in place: decompress it")
    descriptor, most = (file, BATCH) if isinstance(file, int) else (ELSEWHERE, AHEAD // BLOCK)
    window, held = np.empty(LONGEST + READ, np.uint8), np.full(3, -1, np.int64)  # it holds nothing yet
    batches = []
    at, state, before = start, MORE, 0
    while state in (MORE, WANT):
        if state == WANT:
            piece = bytearray(pread(file, min(max(2 * (int(held[2]) - at), AHEAD), end - at), at))
            if at + len(piece) < held[2]:
                raise ValueError(f"{name} has become shorter than it was: run again")
            window, held[:2] = np.frombuffer(piece, np.uint8), (at, at + len(piece))
        text, ends = np.empty(4 * LONGEST, np.uint8), np.empty(most, np.int64)
        offsets, sizes, heads = np.empty(most, np.int64), np.empty(most, np.int64), np.zeros((most, HEAD), np.uint8)
        state, at, count, beyond = _scan(descriptor, at, end, window, held, text, ends, offsets, sizes, heads)
        used = ends[count - 1] if count else 0
        batches.append((text[:used], ends[:count] + before, offsets[:count], sizes[:count], heads[:count]))
        before += used
    if state == CUT and held[0] >= at and held[1] < end and pread(file, 1, int(held[1])):  # or a failing disk says so
        raise OSError(
            f"{name} could not be read at byte {held[1]}, and a moment later it could: the disk, or the way to it, "
            "fails; see the system's log, then run again"
        )
    if state != WHOLE:
        raise ValueError(f"{name} {WHY[state].format(at=at, beyond=beyond)}")
    return Members(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


_pread = bind(libc, "pread", types.int64, types.int32, types.intp, types.uint64, types.int64)


@njit
def _scan(descriptor, at, end, window, held, text, ends, offsets, sizes, heads):  # type: ignore[no-untyped-def]
    """Scans from `at` until the arrays are full. Returns (state, place, number of members, bytes that are missing).

    `window` (uint8) holds bytes `held[0]` to `held[1]` of the file. At states MORE and WANT `place` is where to go on,
    WANT when a file elsewhere has been handed over from there up to byte `held[2]`; else what the message is about.
    """
    count, used = 0, 0
    while count < len(ends) and used + LONGEST <= len(text):
        name_size, given_size = 0, np.int64(-1)  # from headers that precede the member's own
        preceded, first = False, at
        while True:
            if at + BLOCK > end:
                return CUT, at, count, 0
            block = _load(descriptor, at, min(BLOCK + HEAD, end - at), window, held)
            if block < 0:
                return (CUT, at, count, 0) if block == -1 else (WANT, first, count, 0)
            total, high = 0, 0  # the sum of the bytes, and how many of them are over 127
            for i in range(block, block + BLOCK):
                total += window[i]
                high += window[i] >> 7
            if total == 0:
                if preceded:
                    return DAMAGED, at, count, 0
                state, at = _closing(descriptor, at, end, window, held)
                return state, at, count, 0
            for i in range(block + 148, block + 156):
                total += 32 - window[i]
                high -= window[i] >> 7
            checksum = _octal(window, block + 148, 8)
            # Some old tars took the bytes of the header as signed.
            if checksum != total and checksum != total - 256 * high:
                return DAMAGED, at, count, 0
            kind = window[block + 156]
            size = _size(window, block + 124)
            precedes = kind in (LONG_NAME, LONG_LINK, PAX, PAX_OF_ALL)
            if given_size >= 0 and not precedes:
                size = given_size
            if size < 0:
                return DAMAGED, at, count, 0
            data = at + BLOCK
            if size > end - data:
                return CUT_MEMBER, at, count, size - (end - data)
            if not precedes:
                break
            if kind != LONG_LINK:
                if size > LONGEST:
                    return DAMAGED, at, count, 0
                body = _load(descriptor, data, size, window, held)
                if body < 0:
                    return (CUT, at, count, 0) if body == -1 else (WANT, first, count, 0)
                if kind == LONG_NAME:
                    name_size = _field(window, body, size, text, used)
                else:
                    state, path_at, path_size, pax_size = _pax(window, body, body + size)
                    if state != MORE:
                        return state, at, count, 0
                    if kind == PAX_OF_ALL and (path_size > 0 or pax_size >= 0):
                        return UNKNOWN, at, count, 0
                    if path_size > 0:
                        name_size = path_size
                        text[used : used + name_size] = window[path_at : path_at + name_size]
                    if pax_size >= 0:
                        given_size = pax_size
            preceded = True
            at = data + size + -size % BLOCK
        if kind == SPARSE_FILE:
            return SPARSE, at, count, 0
        if kind in LINKS:
            return LINK, at, count, 0
        if kind in FILES:
            if name_size == 0:
                name_size = _name(window, block, text, used)
            if name_size == 0:
                return DAMAGED, at, count, 0
            if text[used + name_size - 1] != 47:  # a folder, as tars wrote it before there were kinds
                used += name_size
                ends[count], offsets[count], sizes[count] = used, data, size
                length = min(HEAD, size)
                payload = _load(descriptor, data, length, window, held)
                if payload < 0:
                    return (CUT, at, count, 0) if payload == -1 else (WANT, first, count, 0)
                heads[count, :length] = window[payload : payload + length]
                count += 1
        elif kind not in PASSED_OVER:
            return UNKNOWN, at, count, 0
        at = data + size + -size % BLOCK
    return MORE, at, count, 0


@njit
def _load(descriptor, at, size, window, held):  # type: ignore[no-untyped-def]
    """Where in `window` the `size` bytes at `at` are; reads if it must.

    -1 where the file ends before, -2 where they are to be handed over, up to byte `held[2]`.
    """
    if at < held[0] or at + size > held[1]:
        if descriptor == ELSEWHERE:
            held[2] = at + size
            return -2
        held[0], held[1] = at, at
        while held[1] < at + size:
            got = held[1] - at
            read = _pread(descriptor, window.ctypes.data + got, max(size, READ) - got, held[1])
            if read <= 0:
                return -1
            held[1] += read
    return at - held[0]


@njit
def _closing(descriptor, at, end, window, held):  # type: ignore[no-untyped-def]
    """Whether all that follows the first block of zeros, at `at`, is zeros, and there is at least one more block."""
    if at + 2 * BLOCK > end:
        return CUT, at
    first = at
    while at < end:
        length = min(READ, end - at)
        block = _load(descriptor, at, length, window, held)
        if block < 0:
            return (CUT, at) if block == -1 else (WANT, first)
        for i in range(block, block + length):
            if window[i] != 0:
                return JOINED, at + i - block
        at += length
    return WHOLE, at


@njit
def _octal(window, at, length):  # type: ignore[no-untyped-def]
    """A number in octal with spaces around it, ended by a zero or the field's end; -1 where it is none."""
    value, digits, ended = np.int64(0), 0, False
    for i in range(at, at + length):
        byte = window[i]
        if byte == 0:
            break
        if byte == 32:
            ended = digits > 0
        elif ended or byte < 48 or byte > 55:
            return np.int64(-1)
        else:
            value, digits = value * 8 + byte - 48, digits + 1
    return value


@njit
def _size(window, at):  # type: ignore[no-untyped-def]
    """The field of a member's size: octal, or GNU's 88 bits behind a first byte of 0x80; -1 where it is neither."""
    if window[at] != 0x80:
        return _octal(window, at, 12)
    value = np.int64(0)
    for i in range(at + 1, at + 12):
        if value >> 54:
            return np.int64(-1)
        value = value << 8 | window[i]
    return value


@njit
def _name(window, block, text, used):  # type: ignore[no-untyped-def]
    """Writes the name in the header itself to `text`; ustar keeps the folders of a long one apart. Returns its size."""
    size = 0
    if _begins(window, block + 257, block + BLOCK, USTAR):
        size = _field(window, block + 345, 155, text, used)
        if size > 0:
            text[used + size] = 47
            size += 1
    return size + _field(window, block, 100, text, used + size)


@njit
def _field(window, at, length, text, used):  # type: ignore[no-untyped-def]
    """Copies a field up to its first zero; returns how many bytes that were."""
    size = 0
    while size < length and window[at + size] != 0:
        text[used + size] = window[at + size]
        size += 1
    return size


@njit
def _begins(window, at, stop, word):  # type: ignore[no-untyped-def]
    """Whether the bytes from `at` to `stop` begin with `word`."""
    if at + len(word) > stop:
        return False
    return bool((window[at : at + len(word)] == word).all())


@njit
def _pax(window, at, end):  # type: ignore[no-untyped-def]
    """Reads pax records, each `<length> <key>=<value>\\n`. Returns (state, where the path is, its size, the size)."""
    path_at, path_size, given_size = 0, 0, np.int64(-1)
    while at < end:
        start, length = at, 0
        while at < end and 48 <= window[at] <= 57 and length <= LONGEST:
            length = length * 10 + window[at] - 48
            at += 1
        stop = start + length - 1  # of the line feed
        if at == start or at >= end or window[at] != 32 or stop <= at or stop >= end or window[stop] != 10:
            return DAMAGED, 0, 0, given_size
        equals = at + 1
        while equals < stop and window[equals] != 61:
            equals += 1
        if equals == stop:
            return DAMAGED, 0, 0, given_size
        if equals - at - 1 == len(PATH) and _begins(window, at + 1, equals, PATH):
            path_at, path_size = equals + 1, stop - equals - 1
        elif equals - at - 1 == len(SIZE) and _begins(window, at + 1, equals, SIZE):
            given_size = np.int64(0)
            for i in range(equals + 1, stop):
                if window[i] < 48 or window[i] > 57 or given_size >> 58:
                    return DAMAGED, 0, 0, np.int64(-1)
                given_size = given_size * 10 + window[i] - 48
        elif _begins(window, at + 1, equals, SPARSE_KEY):
            return SPARSE, 0, 0, given_size
        at = stop + 1
    return MORE, path_at, path_size, given_size
