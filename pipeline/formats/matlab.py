"""The structs in a MAT-file of MATLAB 5 to 7, read and written: what the kit's `meta.mat` needs, and nothing else.

A file is a header of 128 bytes and elements: a tag of type and size, then data, padded to eight bytes. A matrix is
itself made of elements; a struct array holds a matrix for each field of each entry. Either may be compressed.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

HEADER = 128
MATRIX, COMPRESSED, UTF8, UTF16 = 14, 15, 16, 17
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
STRUCT, CHARACTERS, DOUBLE, INT64 = 2, 4, 6, 14  # classes of a matrix
MOST_BYTES = 1 << 26  # of a compressed element: the real kit's has 1 MB
MOST_ENTRIES, MOST_DEPTH = 1 << 16, 8

Value = Any  # a string, a flat list of numbers, or a list of structs


def read_structs(content: bytes, name: str) -> list[dict[str, Value]]:
    """The struct array called `name`, an entry for each: field -> str, list of numbers or list of structs.

    Raises `ValueError` with what is wrong with the file.
    """
    if len(content) < HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("it is no MAT-file of MATLAB 5 to 7")
    order = "<" if content[126:128] == b"IM" else ">"
    try:
        for kind, data in elements(content[HEADER:], order):
            if kind == COMPRESSED:
                ((kind, data),) = elements(inflated(data), order)
            if kind == MATRIX:
                found, value = matrix(data, order)
                if found == name and isinstance(value, list):
                    return value
    except (struct.error, zlib.error, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError(f"its bytes are damaged ({type(error).__name__}: {error})") from error
    raise ValueError(f"it holds no structs called {name}")


def inflated(data: bytes) -> bytes:
    """What was compressed; what takes more than `MOST_BYTES` is refused before it is in memory."""
    stream = zlib.decompressobj()
    plain = stream.decompress(data, MOST_BYTES)
    if not stream.eof:
        raise ValueError(f"an element of it is cut short, or has more than {MOST_BYTES:,} bytes")
    return plain


def elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and data of each element; one of up to four bytes has them within its tag."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            kind, size, begin, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            begin = at + 8
            after = begin + size + (-size % 8 if kind != COMPRESSED else 0)
        if begin + size > len(data) or (begin == at + 4 and size > 4):
            raise ValueError(f"an element of {size} bytes is longer than what it lies in")
        yield kind, data[begin : begin + size]
        at = after


def matrix(data: bytes, order: str, depth: int = 0) -> tuple[str, Value]:
    """Name and value of a matrix."""
    if depth > MOST_DEPTH:
        raise ValueError("its structs lie too deep in each other")
    if not data:
        return "", []
    parts = elements(data, order)
    _, flags = next(parts)
    _, shape = next(parts)
    _, name = next(parts)
    kind = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    if kind == STRUCT:
        return name.decode("ascii"), structs(parts, shape, order, depth)
    stored, content = next(parts)
    if kind == CHARACTERS:
        return name.decode("ascii"), text(stored, content, order)
    if stored not in NUMBERS or len(content) % np.dtype(NUMBERS[stored]).itemsize:
        raise ValueError(f"it holds a matrix of another class ({kind}) than numbers, characters and structs")
    return name.decode("ascii"), np.frombuffer(content, order + NUMBERS[stored]).tolist()


def structs(parts: Iterator[tuple[int, bytes]], shape: bytes, order: str, depth: int) -> list[dict[str, Value]]:
    """The entries of a struct array, of which its flags, `shape` and name are read."""
    count = int(np.prod(np.frombuffer(shape, f"{order}i4"), dtype=np.float64))
    (length,) = struct.unpack_from(f"{order}i", next(parts)[1])
    _, names = next(parts)
    if length < 1 or not 0 <= count <= MOST_ENTRIES:
        raise ValueError(f"it has a struct array of {count} entries with field names of {length} bytes")
    fields = [names[at : at + length].split(b"\0")[0].decode("ascii") for at in range(0, len(names), length)]
    return [{field: matrix(next(parts)[1], order, depth + 1)[1] for field in fields} for _ in range(count)]


def text(stored: int, content: bytes, order: str) -> str:
    """Characters, which MATLAB keeps as numbers of 16 bits, SciPy as UTF-8."""
    if stored in (4, UTF16):
        return content.decode("utf-16-le" if order == "<" else "utf-16-be")
    return content.decode("utf-8" if stored == UTF8 else "latin-1")


def write_structs(structs: Sequence[Mapping[str, float | str | Sequence[int]]], name: str) -> bytes:
    """A MAT-file of a column of structs, which have the same fields: the bytes that SciPy makes, but for the header."""
    fields = list(structs[0])
    length = 1 + max(map(len, fields))
    body = element(5, struct.pack("<i", length)) + element(
        1, b"".join(each.encode().ljust(length, b"\0") for each in fields)
    )
    body += b"".join(written(entry[field]) for entry in structs for field in fields)
    header = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\0\1IM"
    return header + array(STRUCT, (len(structs), 1), name, body)


def written(value: float | str | Sequence[int]) -> bytes:
    """A matrix without a name."""
    if isinstance(value, str):
        return array(CHARACTERS, (min(1, len(value)), len(value)), "", element(UTF8, value.encode("ascii")))
    if isinstance(value, float):
        return array(DOUBLE, (1, 1), "", element(9, struct.pack("<d", value)))
    if not value:
        return array(DOUBLE, (0, 0), "", element(9, b""))
    return array(INT64, (1, len(value)), "", element(12, struct.pack(f"<{len(value)}q", *value)))


def array(kind: int, shape: tuple[int, int], name: str, body: bytes) -> bytes:
    """A matrix of a class, with the elements that hold its values."""
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<ii", *shape)) + element(1, name.encode())
    return element(MATRIX, head + body)


def element(kind: int, data: bytes) -> bytes:
    """An element, in eight bytes where it has up to four of data."""
    if 0 < len(data) <= 4 and kind != MATRIX:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)
