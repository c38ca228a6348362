"""How a good file becomes a bad one: pure functions from (random numbers, its bytes) to a list of edits."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

TAR_BLOCK = 512
PART = 256  # bytes of a file that are looked at together for whether they hold anything
HOSTILE = (0, 1, 2, 3, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63)


class Edit(NamedTuple):
    """The file becomes `data[:offset] + new + data[offset + len(new):]`, cut to `size` bytes."""

    offset: int
    new: bytes
    size: int


class Spot(NamedTuple):
    """Where a format keeps a number, and how: "little", "big" or "octal" (of a tar header that begins at `header`)."""

    offset: int
    width: int  # bytes
    form: str = "little"
    header: int = 0


class Original:
    """A good file: its bytes, where they are not padding, and where its format keeps numbers."""

    def __init__(self, data: bytes, spots: Sequence[Spot] = ()) -> None:
        self.data, self.spots = data, spots
        starts = np.arange(0, len(data), PART)
        used = np.logical_or.reduceat(np.frombuffer(data, np.uint8) != 0, starts)
        self._used = starts[used]

    def place(self, rng: np.random.Generator) -> int:
        """An offset where something is; now and then any."""
        if rng.random() < 0.05:
            return int(rng.integers(len(self.data)))
        return min(len(self.data) - 1, int(rng.choice(self._used) + rng.integers(PART)))


def mutate(rng: np.random.Generator, original: Original) -> tuple[str, Edit]:
    """One change of a file, and the name of its kind."""
    kinds: list[Callable[[np.random.Generator, Original], Edit]]
    kinds = [flip, overwrite, blank, cut, cut_and_fill, swap, copy, insert, delete, guess_number]
    if original.spots:
        kinds += 3 * [number]
    kind = kinds[rng.integers(len(kinds))]
    return kind.__name__, kind(rng, original)


def length(rng: np.random.Generator, most: int) -> int:
    """A length from 1 to `most`, short ones as likely as long ones."""
    return int(min(most, 2 ** rng.uniform(0, np.log2(max(2, most)))))


def overwriting(data: bytes, offset: int, new: bytes) -> Edit:
    return Edit(offset, new[: len(data) - offset], len(data))


def flip(rng: np.random.Generator, file: Original) -> Edit:
    """One to eight bits of eight bytes."""
    offset = file.place(rng)
    new = np.frombuffer(file.data[offset : offset + 8], np.uint8).copy()
    for _ in range(length(rng, 8)):
        new[rng.integers(new.size)] ^= 1 << rng.integers(8)
    return overwriting(file.data, offset, new.tobytes())


def overwrite(rng: np.random.Generator, file: Original) -> Edit:
    return overwriting(file.data, file.place(rng), rng.bytes(length(rng, 4096)))


def blank(rng: np.random.Generator, file: Original) -> Edit:
    """Zeros or ones, as a lost block or an erased one gives."""
    return overwriting(file.data, file.place(rng), length(rng, 65536) * bytes([rng.choice([0, 255])]))


def cut(rng: np.random.Generator, file: Original) -> Edit:
    return Edit(0, b"", int(rng.integers(len(file.data))) if rng.random() < 0.5 else file.place(rng))


def cut_and_fill(rng: np.random.Generator, file: Original) -> Edit:
    """As a crash leaves a file: the right length, and no content behind some place."""
    offset = file.place(rng)
    return overwriting(file.data, offset, bytes(len(file.data) - offset))


def swap(rng: np.random.Generator, file: Original) -> Edit:
    """Two blocks change places."""
    size = min(length(rng, 65536), len(file.data) // 2)
    first, second = sorted(int(offset) for offset in rng.integers(0, max(1, len(file.data) - size), 2))
    second = max(second, first + size)
    new = file.data[second : second + size] + file.data[first + size : second] + file.data[first : first + size]
    return overwriting(file.data, first, new)


def copy(rng: np.random.Generator, file: Original) -> Edit:
    """A block comes twice, over another one."""
    source = file.place(rng)
    return overwriting(file.data, file.place(rng), file.data[source : source + length(rng, 65536)])


def insert(rng: np.random.Generator, file: Original) -> Edit:
    offset, new = file.place(rng), rng.bytes(length(rng, 1024))
    return Edit(offset, new + file.data[offset:], len(file.data) + len(new))


def delete(rng: np.random.Generator, file: Original) -> Edit:
    offset = file.place(rng)
    rest = file.data[offset + length(rng, 1024) :]
    return Edit(offset, rest, offset + len(rest))


def guess_number(rng: np.random.Generator, file: Original) -> Edit:
    """A hostile integer anywhere."""
    width = int(rng.choice([1, 2, 4, 8]))
    form = str(rng.choice(["little", "big"]))
    return overwriting(file.data, file.place(rng), packed(hostile(rng, len(file.data)), width, form))


def number(rng: np.random.Generator, file: Original) -> Edit:
    """A hostile integer where the format has one."""
    spot = file.spots[int(rng.integers(len(file.spots)))]
    value = hostile(rng, len(file.data))
    if spot.form != "octal":
        return overwriting(file.data, spot.offset, packed(value, spot.width, spot.form))
    field = octal(rng, value, spot.width)
    header = bytearray(file.data[spot.header : spot.header + TAR_BLOCK])
    header[spot.offset - spot.header : spot.offset - spot.header + spot.width] = field
    return overwriting(file.data, spot.header, with_checksum(header))


def hostile(rng: np.random.Generator, size: int) -> int:
    """A number at the edge of something: a type, the file, zero."""
    value = int(rng.choice(np.array([*HOSTILE, size, size - 1, size + 1, size // 2], np.uint64)))
    return value + int(rng.integers(-2, 3))


def packed(value: int, width: int, form: str) -> bytes:
    return (value % 2 ** (8 * width)).to_bytes(width, "little" if form == "little" else "big")


def octal(rng: np.random.Generator, value: int, width: int) -> bytes:
    """A number as a tar header has it: octal digits, or binary behind a first byte of 0x80; signs and rubbish too."""
    digits = max(1, width - 1)
    texts = [f"{value % 8**digits:0{digits}o}", f"-{value % 8**digits:o}", "+7", "0o17", "1_0", "9", ""]
    binary = bytes([rng.choice([0x80, 0xFF])]) + packed(value, width - 1, "big")
    chosen = rng.integers(len(texts) + 4)
    return binary if chosen >= len(texts) else texts[chosen].encode().ljust(width, b"\0")[:width]


def with_checksum(header: bytearray) -> bytes:
    """A tar header whose checksum is right, so that the reader goes on to what it says."""
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


def tar_spots(data: bytes) -> list[Spot]:
    """Size, checksum, type and name length of every header of the tar `data`."""
    spots, offset = [], 0
    while any(data[offset : offset + TAR_BLOCK]):
        spots += [Spot(offset + at, width, "octal", offset) for at, width in ((124, 12), (124, 12), (156, 1), (100, 8))]
        size = int(data[offset + 124 : offset + 135], 8)
        offset += TAR_BLOCK + size + -size % TAR_BLOCK
    return spots


def shard_spots(data: bytes) -> list[Spot]:
    """The numbers of the tar `data` and those of the JPEGs in it."""
    spots = tar_spots(data)
    for header in dict.fromkeys(spot.header for spot in spots):
        payload = data[header + TAR_BLOCK : header + TAR_BLOCK + int(data[header + 124 : header + 135], 8)]
        if payload.startswith(b"\xff\xd8"):
            spots += [spot._replace(offset=spot.offset + header + TAR_BLOCK) for spot in jpeg_spots(payload)]
    return spots


def jpeg_spots(data: bytes) -> list[Spot]:
    """Every byte and pair of bytes of the headers of the JPEG `data`, up to its first scan."""
    end = data.index(b"\xff\xda") + 14
    return [Spot(at, width, "big") for at in range(2, end) for width in (1, 2)]


def applied(data: bytes, edit: Edit) -> bytes:
    """`data` after one edit."""
    return (data[: edit.offset] + edit.new + data[edit.offset + len(edit.new) :])[: edit.size]
