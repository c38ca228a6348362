"""Zip archives: what lies where, from the central directory at the end, without unpacking anything.

Each member has an entry of 46 bytes, its name and extras in the directory, and once more a header of 30 bytes, its
name and extras in front of its data. The latter's extras have a length of their own, so where the data begin is said
there alone.
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.files.gather import gather
from imagefeed.pipeline.files.ranged import Readable, pread
from imagefeed.pipeline.files.text import name_of

ENTRY = np.dtype(
    {
        "names": ["mark", "flags", "method", "packed", "size", "name", "extra", "comment", "at"],
        "formats": ["<u4", "<u2", "<u2", "<u4", "<u4", "<u2", "<u2", "<u2", "<u4"],
        "offsets": [0, 8, 10, 20, 24, 28, 30, 32, 42],
        "itemsize": 46,
    }
)
HEADER = np.dtype(
    {"names": ["mark", "name", "extra"], "formats": ["<u4", "<u2", "<u2"], "offsets": [0, 26, 28], "itemsize": 30}
)
END, END_64, LOCATOR_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
STORED, DEFLATED = 0, 8
ENCRYPTED = 1
WIDE = 0xFFFFFFFF  # in place of a number that stands in the extras, with 64 bits
SLICE = 1 << 16  # names that are copied at once
CURE = "get the file again"


class Members(NamedTuple):
    """The members of an archive, n of them, in the directory's order."""

    name: pa.Array  # text [n]; a folder's ends with /
    method: np.ndarray  # int64 [n]: STORED, DEFLATED or another
    is_encrypted: np.ndarray  # bool [n]
    header: np.ndarray  # int64 [n], bytes: where each begins
    packed: np.ndarray  # int64 [n], bytes in the archive
    size: np.ndarray  # int64 [n], bytes when it is unpacked


def read_members(file: Readable, size: int, name: str) -> Members:
    """The members of an archive of `size` bytes. Raises `ValueError` where it is none, cut short or damaged."""
    count, length, start = _directory(file, size, name)
    data = np.frombuffer(pread(file, length, start), np.uint8)
    at = _entries(data, count, name)
    entries = (
        np.lib.stride_tricks.sliding_window_view(data, ENTRY.itemsize)[at] if count else np.zeros((0, 46), np.uint8)
    )
    found = np.ascontiguousarray(entries).view(ENTRY)[:, 0]
    packed, plain, header = (found[each].astype(np.int64) for each in ("packed", "size", "at"))
    text = data.tobytes()
    for row in np.flatnonzero((packed == WIDE) | (plain == WIDE) | (header == WIDE)).tolist():
        first = int(at[row]) + ENTRY.itemsize + int(found["name"][row])
        numbers = _wide(text[first : first + int(found["extra"][row])])
        for column in (plain, packed, header):
            if column[row] == WIDE and numbers:
                column[row] = numbers.pop(0)
    if ((packed < 0) | (plain < 0) | (header < 0) | (packed > start - header)).any():
        raise ValueError(f"{name} is damaged: its directory has a member that goes on beyond the members; {CURE}")
    return Members(
        name=_names(data, at + ENTRY.itemsize, found["name"].astype(np.int64)),
        method=found["method"].astype(np.int64),
        is_encrypted=(found["flags"] & ENCRYPTED) > 0,
        header=header,
        packed=packed,
        size=plain,
    )


def data_offsets(file: Readable, members: Members, rows: np.ndarray, name: str) -> np.ndarray:
    """Where the data of the members `rows` (int64 [n]) begin (int64 [n])."""
    order = np.argsort(members.header[rows], kind="stable")
    found = gather(file, members.header[rows][order], HEADER.itemsize).view(HEADER)[:, 0]
    if (wrong := found["mark"] != 0x04034B50).any():
        member = members.name[int(rows[order][int(wrong.argmax())])]
        raise ValueError(f"{name} is damaged: no header of the member {member} where the directory says; {CURE}")
    offsets = np.empty(len(rows), np.int64)
    offsets[order] = members.header[rows][order] + HEADER.itemsize + found["name"] + found["extra"]
    return offsets


def inflated(data: bytes, size: int) -> bytes:
    """The `size` bytes of a deflated member. Raises `ValueError` where it is damaged, or of another size."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"a member of the zip archive is damaged ({error}): {CURE}") from error
    if len(found) != size or not unpacker.eof:
        raise ValueError(f"a member of the zip archive is damaged: it has not the {size} bytes of its entry: {CURE}")
    return found


def _directory(file: Readable, size: int, name: str) -> tuple[int, int, int]:
    """How many entries the directory has, its size and where it begins, bytes."""
    first = max(size - END.size - 0xFFFF, 0)
    tail = pread(file, size - first, first)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + END.size > len(tail):
        raise ValueError(f"{name} is no zip archive, or cut short: its end is missing; {CURE}")
    _, _, _, _, count, length, start, _ = END.unpack_from(tail, at)
    end = first + at
    if at >= LOCATOR_64.size:
        mark, _, place, _ = LOCATOR_64.unpack_from(tail, at - LOCATOR_64.size)
        if mark == b"PK\x06\x07" and place + END_64.size <= size:
            head = pread(file, END_64.size, place)
            if head[:4] == b"PK\x06\x06":
                *_, count, length, start = END_64.unpack(head)
                end = place
    if start + length != end or count * ENTRY.itemsize > length:
        raise ValueError(
            f"{name} is damaged, in several parts, or has something in front: its directory does not end at {end}: "
            "get the file again, or pack it again as one file"
        )
    return count, length, start


def _entries(data: np.ndarray, count: int, name: str) -> np.ndarray:
    """Where the entries of a directory begin (int64 [count]), bytes."""
    starts, at, lengths = [], 0, struct.Struct("<3H").unpack_from
    text = data.tobytes()
    try:
        for _ in range(count):
            starts.append(at)
            one, two, three = lengths(text, at + 28)
            at += 46 + one + two + three
    except struct.error:
        at = len(text) + 1
    found = np.array(starts, np.int64)
    if at > len(text) or any((data[found + place] != byte).any() for place, byte in enumerate(b"PK\x01\x02")):
        raise ValueError(f"{name} is damaged: its directory has not {count} entries; {CURE}")
    return found


def _names(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> pa.Array:
    """The names (text [n]) at places of a directory; what is no UTF-8 is escaped."""
    parts = [np.empty(0, np.uint8)]
    for first in range(0, len(starts), SLICE):
        size = sizes[first : first + SLICE]
        skipped = starts[first : first + SLICE] - np.cumsum(size) + size
        parts.append(data[np.repeat(skipped, size) + np.arange(size.sum())])
    limits = np.concatenate([[0], np.cumsum(sizes)])
    buffers = [pa.py_buffer(limits), pa.py_buffer(np.concatenate(parts))]
    names = pa.LargeStringArray.from_buffers(len(starts), *buffers)
    try:
        names.validate(full=True)
    except pa.ArrowInvalid:
        as_bytes = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(starts), [None, *buffers])
        names = pa.array([name_of(each) for each in as_bytes.to_pylist()], pa.string())
    return names.cast(pa.string())


def _wide(extra: bytes) -> list[int]:
    """The numbers of 64 bits among the extras of an entry."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length // 8 * 8]
            return [min(each, 1 << 62) for each in struct.unpack(f"<{len(field) // 8}Q", field)]
        at += 4 + length
    return []
