"""TFRecord, and tf.train.Example in it: records one behind the other, each a map from names to lists of values.

    length of the data (u64) | masked CRC-32C of the length (u32) | data | masked CRC-32C of the data (u32)
    data, in protocol buffers:  Example{1: Features{1: entry{1: name, 2: Feature} ...}}
    Feature{1: bytes{1: value ...}} or {2: floats{1: packed}} or {3: integers{1: packed}}

Of a record only what stands around its large values is read: names, sizes, numbers. All records of a block are walked
through in step, one feature after the other, with an array for where each record is. The CRC of the lengths is proved,
that of the data is not, as they are not read.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.files.gather import gather
from imagefeed.pipeline.files.ranged import Readable, pread

HEAD, AROUND = 12, 16  # bytes in front of the data of a record, and around them
BLOCK = 1 << 16  # records that are walked through at once
AHEAD = 1 << 16  # bytes that are read at once where records are small
SMALL = 1 << 13  # bytes of a small record
WINDOW = 256  # bytes of a record that are here at once
LONGEST = 10  # bytes of a number
LONGEST_NAME = 128  # bytes of the name of a feature
BYTES, FLOATS, INTEGERS = 1, 2, 3  # kinds of feature
read_head = struct.Struct("<QI").unpack_from
KINDS = {BYTES: "bytes", FLOATS: "floats", INTEGERS: "integers"}
CURE = "get the file again"
PACKED = "decompress it, or write it again without compression"


class Records(NamedTuple):
    """Some records of a file, one behind the other."""

    number: int  # of the first
    start: np.ndarray  # int64 [n], bytes: where the data of each begin
    size: np.ndarray  # int64 [n], bytes


class Feature(NamedTuple):
    """The values of one feature of n records, as bytes that are still to be read."""

    kind: np.ndarray  # uint8 [n]: BYTES, FLOATS, INTEGERS; 0 where the record lacks it
    start: np.ndarray  # int64 [n], bytes: where its list begins
    size: np.ndarray  # int64 [n], bytes


def find_records(file: Readable, size: int, name: str) -> Iterator[Records]:
    """The records of a file of `size` bytes. Raises `ValueError` with the record where a length is damaged."""
    at, number, ahead = 0, 0, HEAD
    while at < size:
        first = at
        heads: list[tuple[int, int]] = []
        while at < size and len(heads) < BLOCK:
            block, inside = pread(file, min(ahead, size - at), at), 0
            last = len(block) - HEAD
            while inside <= last:
                heads.append(read_head(block, inside))
                inside += AROUND + heads[-1][0]
            if not inside:
                break
            at += inside
            ahead = AHEAD if heads[-1][0] < SMALL else HEAD
        lengths = np.array([length for length, _ in heads], np.uint64)
        check_lengths(lengths, np.array([mark for _, mark in heads], np.uint32), number, name, pread(file, 2, 0))
        if at != size and (size - at < AROUND or not heads):
            raise ValueError(
                f"{name} is cut short: record {number + len(heads) - (at > size)} goes on beyond it; {CURE}"
            )
        sizes = lengths.astype(np.int64)
        yield Records(number, first + HEAD + np.cumsum(sizes + AROUND) - sizes - AROUND, sizes)
        number += len(heads)


def check_lengths(lengths: np.ndarray, marks: np.ndarray, number: int, name: str, first: bytes) -> None:
    """Raises `ValueError` where a length (uint64 [n]) is not that of its mark; `first` are the file's first bytes."""
    if not len(lengths):
        return
    wrong = masked_crc(np.ascontiguousarray(lengths, "<u8").view(np.uint8).reshape(-1, 8)) != marks
    if wrong.any():
        packed = number == 0 and wrong[0] and (first == b"\x1f\x8b" or first[:1] == b"\x78")
        raise ValueError(
            f"{name} is compressed as a whole, and no part of it can be read alone: {PACKED}"
            if packed
            else f"{name} is no TFRecord or is damaged: the length of record {number + int(wrong.argmax())} has "
            f"another CRC; {CURE}"
        )


def crc_table() -> np.ndarray:
    """CRC-32C (uint32 [256]) of each byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


TABLE = crc_table()


def masked_crc(data: np.ndarray) -> np.ndarray:
    """The CRC-32C of rows of bytes (uint8 [n, m]) as TFRecord stores it (uint32 [n])."""
    crc = np.full(len(data), 0xFFFFFFFF, np.uint32)
    for column in data.T:
        crc = TABLE[(crc ^ column) & 0xFF] ^ crc >> 8
    crc = ~crc
    return (crc >> 15 | crc << 17) + np.uint32(0xA282EAD8)


class Walk:
    """Records that are walked through in step; an error says which of them is wrong."""

    def __init__(self, file: Readable, records: Records, name: str) -> None:
        self.name, self.number, self._file = name, records.number, file
        self._at = records.start.copy()
        self._data = gather(file, self._at, WINDOW)

    def refuse(self, rows: np.ndarray, wrong: np.ndarray | np.bool, why: str) -> None:
        """Raises `ValueError` with the first record of `rows` that is `wrong` (bool [n])."""
        if np.any(wrong):
            raise ValueError(f"{self.name}: record {self.number + int(rows[int(np.argmax(wrong))])} {why}")

    def peek(self, rows: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
        """The `width` bytes (uint8 [n, width]) from `at` on (int64 [n]) in the records `rows`."""
        inside = at - self._at[rows]
        far = (inside < 0) | (inside + width > WINDOW)
        if far.any():
            self._at[rows[far]] = at[far]
            self._data[rows[far]] = gather(self._file, at[far], WINDOW)
            inside = at - self._at[rows]
        first = rows * WINDOW + inside
        return self._data.reshape(-1)[first[:, None] + np.arange(width) if width > 1 else first[:, None]]

    def varint(self, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers (int64 [n]) at `at`, and where they end."""
        value, ends = self.peek(rows, at, 1)[:, 0].astype(np.int64), at + 1
        if (long := np.flatnonzero(value >= 128)).size:
            some = self.peek(rows[long], at[long], LONGEST)
            length = (some < 128).argmax(axis=1) + 1
            self.refuse(rows[long], (some >= 128).all(axis=1), f"is damaged: a number without an end; {CURE}")
            part = np.where(np.arange(LONGEST) < length[:, None], some & 127, 0).astype(np.uint64)
            value[long] = (part << np.arange(0, 7 * LONGEST, 7, dtype=np.uint64)).sum(axis=1).view(np.int64)
            ends[long] += length - 1
        return value, ends

    def part(self, rows: np.ndarray, at: np.ndarray, stop: np.ndarray, why: str) -> tuple[np.ndarray, ...]:
        """The tag (int64 [n]) at `at`, and where what it stands for begins and ends, at `stop` at most."""
        tag, at = self.varint(rows, at)
        self.refuse(rows, (tag & 7) != 2, why)
        size, at = self.varint(rows, at)
        self.refuse(rows, (size < 0) | (size > stop - at), f"is damaged: a part of it goes on beyond its end; {CURE}")
        return tag >> 3, at, at + size


NO_EXAMPLE = "is no tf.train.Example: write it as one (tf.io.parse_single_example reads them)"


def find_features(walk: Walk, records: Records, wanted: Sequence[str]) -> dict[str, Feature]:
    """The features `wanted` of records. Raises `ValueError` with a record that is none, or damaged."""
    count = len(records.start)
    rows, ends = np.arange(count), records.start + records.size
    walk.refuse(rows, records.size == 0, NO_EXAMPLE)
    number, at, stop = walk.part(rows, records.start, ends, NO_EXAMPLE)
    walk.refuse(rows, (number != 1) | (stop != ends), NO_EXAMPLE)
    zeros = np.zeros(count, np.int64)
    found = {each: Feature(np.zeros(count, np.uint8), zeros.copy(), zeros.copy()) for each in wanted}
    names = {each: np.frombuffer(each.encode(), np.uint8) for each in wanted}
    longest = max(map(len, names.values()))
    while (rows := rows[at < stop]).size:
        at, stop = at[at < stop], stop[at < stop]
        number, entry, following = walk.part(rows, at, stop, NO_EXAMPLE)
        key_number, key, value = walk.part(rows, entry, following, NO_EXAMPLE)
        walk.refuse(rows, (number != 1) | (key_number != 1), NO_EXAMPLE)
        head = walk.peek(rows, key, longest)
        for each, text in names.items():
            here = (value - key == len(text)) & (head[:, : len(text)] == text).all(axis=1) & (value < following)
            if here.any():
                some = rows[here]
                number, start, end = walk.part(some, value[here], following[here], NO_EXAMPLE)
                walk.refuse(some, (number != 2) | (end != following[here]), NO_EXAMPLE)
                filled = start < end
                some, start, end = some[filled], start[filled], end[filled]
                if some.size:
                    kind, start, end = walk.part(some, start, end, NO_EXAMPLE)
                    walk.refuse(some, (kind < 1) | (kind > 3), NO_EXAMPLE)
                    found[each].kind[some], found[each].start[some], found[each].size[some] = kind, start, end - start
        at = following
    return found


def one_value(walk: Walk, feature: Feature, kind: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the only value of a feature of `kind` is in each record (int64 [n] each: start, end).

    Raises `ValueError` with the record that lacks it, has several, or one of another kind.
    """
    rows, stop = np.arange(len(feature.kind)), feature.start + feature.size
    walk.refuse(rows, feature.kind == 0, f"has no {what}: leave it out, or name another feature")
    walk.refuse(rows, feature.kind != kind, f"has a {what} that is not of {KINDS[kind]}, as in others: convert apart")
    several = f"has none or several values of {what}: write one a record"
    walk.refuse(rows, feature.size == 0, several)
    if kind == BYTES:
        _, start, end = walk.part(rows, feature.start, stop, NO_EXAMPLE)
    else:
        tag, start = walk.varint(rows, feature.start)
        packed = np.flatnonzero((tag & 7) == 2)
        start[packed] = walk.varint(packed, start[packed])[1]
        end = walk.varint(rows, start)[1] if kind == INTEGERS else start + 4
    walk.refuse(rows, end != stop, several)
    return start, end


def integers(walk: Walk, feature: Feature, what: str) -> np.ndarray:
    """The values (int64 [n]) of a feature of one integer a record."""
    start, _ = one_value(walk, feature, INTEGERS, what)
    return walk.varint(np.arange(len(start)), start)[0]


def floats(walk: Walk, feature: Feature, what: str) -> np.ndarray:
    """The values (float64 [n]) of a feature of one real number a record."""
    start, _ = one_value(walk, feature, FLOATS, what)
    data = walk.peek(np.arange(len(start)), start, 4)
    return np.ascontiguousarray(data).view("<f4")[:, 0].astype(np.float64)


def texts(walk: Walk, file: Readable, feature: Feature, what: str) -> pa.Array:
    """The values (text [n]) of a feature of one text a record, in UTF-8."""
    start, end = one_value(walk, feature, BYTES, what)
    found = []
    for row, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        try:
            found.append(pread(file, last - first, first).decode())
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{walk.name}: record {walk.number + row} has a {what} that is no UTF-8 ({error}): name another feature"
            ) from error
    return pa.array(found, pa.string())


def names_of(file: Readable, record: Records, name: str) -> dict[str, int]:
    """The features of the first record and their kinds, sorted by name."""
    walk = Walk(file, Records(record.number, record.start[:1], record.size[:1]), name)
    row, end = np.zeros(1, np.int64), record.start[:1] + record.size[:1]
    walk.refuse(row, record.size[:1] == 0, NO_EXAMPLE)
    _, at, stop = walk.part(row, record.start[:1], end, NO_EXAMPLE)
    found = {}
    while at < stop:
        _, entry, following = walk.part(row, at, stop, NO_EXAMPLE)
        number, key, value = walk.part(row, entry, following, NO_EXAMPLE)
        size = int((value - key)[0])
        walk.refuse(row, (number != 1) | np.array([size > LONGEST_NAME]), NO_EXAMPLE)
        feature = bytes(walk.peek(row, key, size)[0]).decode("utf-8", "backslashreplace")
        found[feature] = 0
        if value < following:
            _, start, last = walk.part(row, value, following, NO_EXAMPLE)
            found[feature] = int(walk.varint(row, start)[0][0] >> 3) if start < last else 0
        at = following
    return dict(sorted(found.items()))
