"""A column of bytes in a Parquet file, found and read a page at a time.

pyarrow reads a column by whole row groups, which hold a hundred images or a thousand; who needs one image in random
order would read all of them. A page holds about 1 MiB, its header tells where it ends and how many values it has, and a
value of a page can be read from the page alone, or with the dictionary page of its chunk where it is coded by that.

Of the format only what writers make of images is read: no nulls, no lists, PLAIN values or ones by dictionary.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.files.ranged import Readable, pread

DATA, INDEX, DICTIONARY, DATA_V2 = range(4)  # kinds of page
PLAIN, BY_DICTIONARY = 0, (2, 8)  # encodings of values
CODECS = ("UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "BROTLI")
HEADER, LONGEST = 1 << 10, 1 << 16  # bytes of a page's header that are read, and read again where it is longer
LARGEST = 1 << 31  # bytes of a page that are believed


class Codec(NamedTuple):
    """How the pages of a column are packed."""

    name: str  # one of `CODECS`
    levels: int  # the highest definition level: how many of the column and those around it may be null


class Pages(NamedTuple):
    """Where the values of a column are, n of them, in the file's order."""

    codec: Codec
    offset: np.ndarray  # int64 [n], bytes, of the page, or of its dictionary, which the page follows
    size: np.ndarray  # int64 [n], bytes, from there to the end of the page
    place: np.ndarray  # int64 [n], of the value in its page


class Page(NamedTuple):
    """A page as its header tells."""

    kind: int
    body: int  # where the body begins, bytes
    size: int  # of the body, bytes
    plain_size: int  # when it is decompressed
    num_values: int
    encoding: int
    level_size: int  # bytes of levels in front of the values, of a page of version 2 alone
    is_compressed: bool


class Seekable(io.RawIOBase):
    """A file as pyarrow takes it, of one that ranges are read of."""

    def __init__(self, file: Readable, size: int) -> None:
        self._file, self._size, self._at = file, size, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position, bytes."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        left = max(self._size - self._at, 0)
        data = pread(self._file, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data


def find_values(file: Readable, meta: pq.FileMetaData, column: int, name: str) -> Pages:
    """The pages of a column of a file with footer `meta`. Raises `ValueError` for what is not read; see above."""
    leaf = meta.schema.column(column)
    if leaf.physical_type != "BYTE_ARRAY" or leaf.max_repetition_level:
        raise ValueError(f"{name}: the column {leaf.path} holds no bytes, or lists of them")
    codecs, offsets, sizes, places = set(), [], [], []
    for group in range(meta.num_row_groups):
        chunk = meta.row_group(group).column(column)
        codecs.add(chunk.compression)
        if chunk.compression not in CODECS or (chunk.statistics and chunk.statistics.null_count):
            raise ValueError(
                f"{name}: row group {group} has images that are null, or is compressed with {chunk.compression}: write "
                f"it again without null and with one of {', '.join(CODECS)}"
            )
        start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        end, count, dictionary = start + chunk.total_compressed_size, 0, -1
        at = start
        while at < end:
            page = _header(file, at, end, name)
            if page.kind == DICTIONARY:
                dictionary = at
            elif page.kind in (DATA, DATA_V2):
                by_dictionary = page.encoding in BY_DICTIONARY and dictionary >= 0
                if page.encoding != PLAIN and not by_dictionary:
                    raise ValueError(f"{name} has an encoding ({page.encoding}) that is not read: write it PLAIN")
                first = dictionary if by_dictionary else at
                offsets.append(np.full(page.num_values, first))
                sizes.append(np.full(page.num_values, page.body + page.size - first))
                places.append(np.arange(page.num_values))
                count += page.num_values
            at = page.body + page.size
        if count != chunk.num_values:
            raise ValueError(f"{name} is damaged: row group {group} has {count} values and not {chunk.num_values}")
    if len(codecs) > 1:
        raise ValueError(f"{name} is compressed in several ways ({', '.join(sorted(codecs))}): write it with one")
    codec = Codec(next(iter(codecs), CODECS[0]), leaf.max_definition_level)
    return Pages(codec, *(np.concatenate([np.empty(0, np.int64), *each]) for each in (offsets, sizes, places)))


def value(data: bytes, codec: Codec, place: int) -> bytes:
    """Value `place` of the last page in `data`, which a dictionary page may precede, as `Pages` says.

    Raises `ValueError` where the bytes are none of that.
    """
    try:
        pages = list(_headers(data))
        page = pages[-1]
        body = _values(data, page, codec)
        if page.encoding == PLAIN:
            return _plain(body, place)
        if pages[0].kind != DICTIONARY:
            raise ValueError("no dictionary")
        return _plain(_decompressed(data, pages[0], codec), int(_hybrid(body[1:], body[0], place + 1)[place]))
    except (ValueError, IndexError, struct.error, pa.ArrowException, OverflowError) as error:
        raise ValueError(f"a page of the Parquet file is damaged ({error}): get the file again") from error


def _header(file: Readable, at: int, end: int, name: str) -> Page:
    """The header at `at`, with places in the file."""
    for most in (HEADER, LONGEST):
        try:
            page = _parse(pread(file, min(most, end - at), at), 0)
        except IndexError:
            continue
        if page.size < 0 or at + page.body + page.size > end:
            break
        return page._replace(body=at + page.body)
    raise ValueError(f"{name} is damaged: no page at byte {at}; get the file again")


def _headers(data: bytes) -> Iterator[Page]:
    """The pages one after the other in `data`."""
    at = 0
    while at < len(data):
        page = _parse(data, at)
        yield page
        at = page.body + max(page.size, 0)


def _parse(data: bytes, at: int) -> Page:
    """The page whose header begins at `at`. Raises `IndexError` where it goes on beyond the end."""
    fields, body = _struct(data, at)
    about = fields.get(5) or fields.get(7) or fields.get(8) or {}
    two = 8 in fields
    return Page(
        kind=fields.get(1, -1),
        body=body,
        size=fields.get(3, -1),
        plain_size=fields.get(2, -1),
        num_values=about.get(1, 0),
        encoding=about.get(4 if two else 2, -1),
        level_size=about.get(5, 0) + about.get(6, 0) if two else 0,
        is_compressed=about.get(7, True) if two else True,
    )


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol: its fields by their numbers, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while data[at]:
        kind, step = data[at] & 15, data[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _item(data, at, kind)
    return fields, at + 1


def _item(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    """A value of one of the protocol's kinds, and where it ends."""
    if kind in (1, 2):
        return kind == 1, at
    if kind in (4, 5, 6):
        return _zigzag(data, at)
    if kind == 8:
        size, at = _varint(data, at)
        data[at + size]  # an `IndexError` where it goes on beyond the end
        return data[at : at + size], at + size
    if kind == 12:
        return _struct(data, at)
    raise ValueError("no header of a page")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _decompressed(data: bytes, page: Page, codec: Codec, skip: int = 0) -> bytes:
    """A page's body from byte `skip` on, which is where its compressed part begins."""
    body = data[page.body + skip : page.body + page.size]
    if codec.name == "UNCOMPRESSED" or not page.is_compressed:
        return body
    if not skip <= page.plain_size <= LARGEST:
        raise ValueError(f"{page.plain_size} bytes")
    return bytes(pa.decompress(body, page.plain_size - skip, codec.name.lower()))


def _values(data: bytes, page: Page, codec: Codec) -> bytes:
    """The values of a data page, behind its levels, which must say that there is no null."""
    if page.kind == DATA_V2:
        levels = data[page.body : page.body + page.level_size]
        body = _decompressed(data, page, codec, page.level_size)
    else:
        body = _decompressed(data, page, codec)
        size = struct.unpack_from("<I", body)[0] + 4 if codec.levels else 0
        levels, body = body[4:size], body[size:]
    if codec.levels and (_hybrid(levels, codec.levels.bit_length(), page.num_values) != codec.levels).any():
        raise ValueError("an image is null")
    return body


def _plain(body: bytes, place: int) -> bytes:
    """Byte array `place` of several, each behind its size."""
    at = 0
    for _ in range(place):
        at += 4 + struct.unpack_from("<I", body, at)[0]
    size = struct.unpack_from("<I", body, at)[0]
    if at + 4 + size > len(body):
        raise ValueError("a value goes on beyond the page")
    return body[at + 4 : at + 4 + size]


def _hybrid(data: bytes, width: int, count: int) -> np.ndarray:
    """The first `count` numbers (int64) of `width` bits each in Parquet's mix of runs and packed groups of eight."""
    found, at = [np.empty(0, np.int64)], 0
    while (left := count - sum(map(len, found))) > 0:
        head, at = _varint(data, at)
        if head & 1:
            size = (head >> 1) * width
            bits = np.unpackbits(np.frombuffer(data, np.uint8, size, at), bitorder="little").reshape(-1, width)
            found.append((bits @ (1 << np.arange(width, dtype=np.int64)))[:left])
        else:
            size = -(-width // 8)
            found.append(np.full(min(head >> 1, left), int.from_bytes(data[at : at + size], "little")))
            if not head:
                raise ValueError("an empty run")
        at += size
    return np.concatenate(found)
