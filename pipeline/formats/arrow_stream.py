"""Arrow's stream of record batches, found and read a buffer at a time.

    0xffffffff | size of the metadata (i32) | metadata, a flatbuffer | body, for each message: a schema, then batches
    0xffffffff | 0 at the end

pyarrow reads a stream's batches whole, images and all. The metadata of a batch tell where in its body each buffer is:
an image is a range of the file between two of the offsets of its column. The file format (`ARROW1`) is such a stream
behind eight bytes.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.files.ranged import Readable, pread

MAGIC = b"ARROW1\0\0"
SCHEMA, DICTIONARY, BATCH = 1, 2, 3  # kinds of message
CURE = "write it again, or get the file again"


class Batch(NamedTuple):
    """A record batch of n rows."""

    nodes: np.ndarray  # int64 [fields, 2]: rows and nulls of each column and of what it is made of, in order
    buffers: np.ndarray  # int64 [buffers, 2]: where each lies in the file and its size, bytes


class Images(NamedTuple):
    """Where the values of a column of bytes are, n of them."""

    offset: np.ndarray  # int64 [n], bytes
    size: np.ndarray  # int64 [n], bytes; -1 for null


def read_schema(file: Readable, start: int, stop: int) -> tuple[pa.Schema, int]:
    """The schema of a stream between two places of a file, and where its batches begin.

    Raises `ValueError` where it is none.
    """
    if pread(file, len(MAGIC), start) == MAGIC:
        start += len(MAGIC)
    meta, body = _message(file, start, stop)
    if meta is None or _Table.root(meta).number(1, "<B") != SCHEMA:
        raise ValueError("it does not begin with a schema")
    data = pread(file, body - start, start)
    try:
        return pa.ipc.read_schema(pa.BufferReader(data)), body
    except OSError as error:
        raise ValueError(f"its schema cannot be read ({error}): {CURE}") from error


def batches(file: Readable, start: int, stop: int) -> Iterator[Batch]:
    """The batches of a stream between two places of a file. Raises `ValueError` for what is damaged or not read."""
    at = start
    while True:
        meta, body = _message(file, at, stop)
        if meta is None:
            return
        message = _Table.root(meta)
        length = message.number(3, "<q")
        if not 0 <= length <= stop - body:
            raise ValueError(f"it is cut short: the message at byte {at} goes on beyond its end; {CURE}")
        kind, header = message.number(1, "<B"), message.table(2)
        if kind == BATCH and header is not None:
            if header.table(3) is not None:
                raise ValueError("its batches are compressed: write it without compression")
            nodes, buffers = header.pairs(1), header.pairs(2)
            if (buffers < 0).any() or (buffers.sum(axis=1) > length).any() or (nodes < 0).any():
                raise ValueError(f"it is damaged: the batch at byte {at} has buffers outside of it; {CURE}")
            yield Batch(nodes, buffers + np.array([body, 0]))
        elif kind != DICTIONARY:
            raise ValueError(f"it is damaged: no message at byte {at}; {CURE}")
        at = body + length


class Columns:
    """The columns of a batch, each taken or passed over in the order of the schema."""

    def __init__(self, file: Readable, batch: Batch) -> None:
        self._file, self._batch = file, batch
        self._node = self._buffer = 0

    def skip(self, kind: pa.DataType) -> None:
        """Passes over a column."""
        self._node += 1
        self._buffer += len(_buffers_of(kind))
        for child in _children(kind):
            self.skip(child)

    def array(self, kind: pa.DataType) -> pa.Array:
        """A column, read whole."""
        if pa.types.is_dictionary(kind):
            raise ValueError(f"a column is of type {kind}, which is not read: cast it to {kind.value_type}")
        length, nulls = self._next_node()
        if pa.types.is_null(kind):
            return pa.nulls(length)
        data = [self._read(number) for number in range(len(_buffers_of(kind)))]
        self._buffer += len(data)
        children = [self.array(child) for child in _children(kind)]
        array = pa.Array.from_buffers(kind, length, data, nulls, children=children or None)
        array.validate(full=True)
        return array

    def images(self, kind: pa.DataType) -> tuple[Images, dict[str, pa.Array]]:
        """Where the values of a column of bytes are, or of the member `bytes` of structs, whose other members are read
        whole."""
        if not pa.types.is_struct(kind):
            return self._ranges(kind), {}
        length, nulls = self._next_node()
        bits = self._read(0)
        self._buffer += 1
        others, found = {}, Images(np.zeros(0, np.int64), np.zeros(0, np.int64))
        for index in range(kind.num_fields):
            member = kind.field(index)
            if member.name == "bytes":
                found = self._ranges(member.type)
            else:
                others[member.name] = self.array(member.type)
        if any(len(each) != length for each in (found.size, *others.values())):
            raise ValueError(f"it is damaged: members of a column of {length} rows have other lengths; {CURE}")
        return found._replace(size=np.where(_valid(bits, length, nulls), found.size, -1)), others

    def _ranges(self, kind: pa.DataType) -> Images:
        length, nulls = self._next_node()
        width = 8 if pa.types.is_large_binary(kind) else 4
        at, size = self._batch.buffers[self._buffer + 1].tolist()
        if length and size < (length + 1) * width:
            raise ValueError(f"it is damaged: {length} values and {size} bytes of offsets; {CURE}")
        data = pread(self._file, (length + 1) * width if length else 0, at)
        ends = np.frombuffer(data, f"<i{width}").astype(np.int64) if length else np.zeros(1, np.int64)
        start, room = self._batch.buffers[self._buffer + 2].tolist()
        sizes = np.diff(ends)
        if len(ends) != length + 1 or (ends < 0).any() or (sizes < 0).any() or ends[-1] > room:
            raise ValueError(f"it is damaged: the offsets at byte {at} lead outside of their column; {CURE}")
        valid = _valid(self._read(0), length, nulls)
        self._buffer += 3
        return Images(start + ends[:-1], np.where(valid, sizes, -1))

    def _next_node(self) -> tuple[int, int]:
        length, nulls = self._batch.nodes[self._node].tolist()
        self._node += 1
        return length, nulls

    def _read(self, number: int) -> pa.Buffer | None:
        at, size = self._batch.buffers[self._buffer + number].tolist()
        if not size:
            return None if not number else pa.py_buffer(b"")
        return pa.py_buffer(pread(self._file, size, at))


def _valid(bits: pa.Buffer | None, length: int, nulls: int) -> np.ndarray:
    """Which rows (bool [n]) are not null."""
    if not nulls or bits is None:
        return np.ones(length, bool)
    if bits.size * 8 < length:
        raise ValueError(f"it is damaged: {length} rows and {bits.size} bytes that say which are null; {CURE}")
    return np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little", count=length).astype(bool)


def _buffers_of(kind: pa.DataType) -> Sequence[str]:
    """The buffers that a column itself has, without those of what it is made of."""
    types = pa.types
    if types.is_null(kind):
        return ()
    if types.is_struct(kind) or types.is_fixed_size_list(kind):
        return ("valid",)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        return ("valid", "offsets")
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_string(kind) or types.is_large_string(kind):
        return ("valid", "offsets", "data")
    if (
        types.is_primitive(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_decimal(kind)
        or types.is_dictionary(kind)
    ):
        return ("valid", "data")
    raise ValueError(f"a column is of type {kind}, which is not read: leave it out")


def _children(kind: pa.DataType) -> list[pa.DataType]:
    """The types of which a column is made."""
    if pa.types.is_nested(kind) and not pa.types.is_dictionary(kind):
        return [kind.field(index).type for index in range(kind.num_fields)]
    return []


def _message(file: Readable, at: int, stop: int) -> tuple[bytes | None, int]:
    """The metadata of the message at `at`, None at the end, and where its body begins."""
    head = pread(file, 8, at)
    if len(head) < 8:
        raise ValueError(f"it is cut short: its end is missing at byte {at}; {CURE}")
    mark, length = struct.unpack("<Ii", head)
    if mark != 0xFFFFFFFF or not 0 <= length <= stop - at - 8:
        raise ValueError(f"it is damaged: no message at byte {at}; {CURE}")
    return (pread(file, length, at + 8) if length else None), at + 8 + length


class _Table(NamedTuple):
    """A table of a flatbuffer."""

    data: bytes
    at: int

    @staticmethod
    def root(data: bytes) -> "_Table":
        return _Table(data, _unpack("<I", data, 0))

    def _field(self, number: int) -> int | None:
        """Where a field is; None where the table lacks it."""
        fields = self.at - _unpack("<i", self.data, self.at)
        if 4 + 2 * number >= _unpack("<H", self.data, fields):
            return None
        offset = _unpack("<H", self.data, fields + 4 + 2 * number)
        return self.at + offset if offset else None

    def number(self, number: int, kind: str) -> int:
        """A number; 0 where it is not there."""
        at = self._field(number)
        return 0 if at is None else _unpack(kind, self.data, at)

    def table(self, number: int) -> "_Table | None":
        """A table; None where it is not there."""
        at = self._field(number)
        return None if at is None else _Table(self.data, at + _unpack("<I", self.data, at))

    def pairs(self, number: int) -> np.ndarray:
        """A vector of pairs of numbers (int64 [n, 2])."""
        at = self._field(number)
        if at is None:
            return np.zeros((0, 2), np.int64)
        at += _unpack("<I", self.data, at)
        count = _unpack("<I", self.data, at)
        if at + 4 + 16 * count > len(self.data):
            raise ValueError("a vector goes on beyond the metadata")
        return np.frombuffer(self.data, "<i8", 2 * count, at + 4).reshape(count, 2)


def _unpack(kind: str, data: bytes, at: int) -> int:
    """A number at `at`. Raises `ValueError` outside of the data."""
    if not 0 <= at <= len(data) - struct.calcsize(kind):
        raise ValueError(f"it is damaged: its metadata lead outside of them; {CURE}")
    return int(struct.unpack_from(kind, data, at)[0])
