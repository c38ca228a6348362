"""Another entropy coding for a JPEG: the same coefficients in codes that decode faster, and in fewer bytes.

libjpeg-turbo encodes with the tables of the standard's annex K, four of them. Here each code is exchanged for that of
another table, one for all DC differences and one for all AC coefficients; values, and so pixels, stay as they are, and
it is an ordinary baseline JPEG still. Read it with ITU-T T.81 beside it (annexes C and F).

One pair of tables serves every image of every dataset, so a decoder makes its lookups once and a core's first cache
holds them. No code is longer than the 12 bits that `jpeg_tables` looks up at once. They are the best of that kind for
photographs at quality 90 (`benchmarks/fit_huffman.py` finds them), and no other quality's own tables decode faster.
"""

from typing import Any, NamedTuple

import numpy as np

from pipeline.compiled import njit
from pipeline.intrinsics import big_endian
from pipeline.jpeg_decoder import DHT, EOI, MCU_BYTES, SOS, Header, Workspace, read_header, unstuff, workspace
from pipeline.jpeg_pixels import BLOCK
from pipeline.jpeg_planes import padded
from pipeline.jpeg_tables import CODE_BITS, Huffman, same_bytes
from pipeline.pointers import unowned

LONGEST = 12  # bits of a code
DC_SYMBOLS = bytes(range(12))  # how many bits a difference takes
AC_SYMBOLS = bytes([0x00, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 11)])

# Symbols by the length of their code from 1 bit on, in hexadecimal; all others have the longest.
DC_SHORT = ["", "", "01020304050607", "00", "08", "09", "0a", "0b"]
AC_SHORT = ["", "01", "0203", "00040511", "06122131", "1341", "07225161", "14327181", "082391a1", "1542b1c1d1f0"]
AC_SHORT += ["335262e1"]


def definition(short: list[str], symbols: bytes) -> bytes:
    """A table as a DHT segment holds it, without class and slot (T.81, B.2.4.2): 16 counts, then the symbols."""
    by_length = [bytes.fromhex(text) for text in short] + [b""] * (LONGEST - len(short))
    by_length[LONGEST - 1] += bytes(sorted(set(symbols) - set(b"".join(by_length))))
    counts = bytes(map(len, by_length)) + bytes(CODE_BITS - LONGEST)
    return counts + b"".join(by_length)


TABLES = definition(DC_SHORT, DC_SYMBOLS), definition(AC_SHORT, AC_SYMBOLS)
SEGMENT = b"\0" + TABLES[0] + b"\x10" + TABLES[1]
DHT_SEGMENT = np.frombuffer(bytes([0xFF, DHT]) + (len(SEGMENT) + 2).to_bytes(2, "big") + SEGMENT, np.uint8)


class Recoder(NamedTuple):
    """What one thread recodes with."""

    space: Workspace  # for the header: what the codes are now
    spelled: np.ndarray  # uint16 [4, 65536], see `spell_out`
    sources: np.ndarray  # uint8 [4, DEFINITION], the tables that it was made of
    codes: np.ndarray  # int64 [2, 256], what symbols will be written as: DC, then AC
    lengths: np.ndarray  # int64 [2, 256], bits of these; 0 where a symbol has no code


def recoder() -> Recoder:
    """One for a thread."""
    space = workspace(0)
    spelled = np.zeros((4, 1 << CODE_BITS), np.uint16)
    return Recoder(space, spelled, np.zeros_like(space.huffman.sources), *codes_of(TABLES))


def codes_of(tables: tuple[bytes, bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The codes (T.81, C.2) of tables as `definition` gives them, and their lengths: see `Recoder`."""
    codes, lengths = np.zeros((2, 256), np.int64), np.zeros((2, 256), np.int64)
    for table, (counts, symbols) in enumerate((each[:CODE_BITS], each[CODE_BITS:]) for each in tables):
        code = number = 0
        for length, count in enumerate(counts, 1):
            for symbol in symbols[number : number + count]:
                codes[table, symbol], lengths[table, symbol] = code, length
                code += 1
            number, code = number + count, code << 1
    return codes, lengths


@njit
def recode(tools: Recoder, data: np.ndarray, out: np.ndarray) -> int:
    """Writes the sound JPEG `data` with other codes to `out` (both uint8 [bytes]); returns how many bytes it takes.

    0 where it is of a kind that `jpeg_decoder` leaves to libjpeg-turbo, has restart markers, or `out` is too small.
    """
    header = read_header(tools.space, data)
    if header.height == 0 or header.interval > 0:
        return 0
    clean = np.empty(data.size + MCU_BYTES, np.uint8)
    size, marker = unstuff(data, header.scan, clean)
    end = recode_head(data, header.scan, out)
    if size < 0 or data[marker + 1] != EOI or end == 0:
        return 0
    tables = tools.space.huffman
    if not same_bytes(tables.sources.reshape(-1), tools.sources.reshape(-1)):
        tools.sources[:] = tables.sources
        spell_out(tables, tools.spelled)
    return recode_scan(tools, header, clean, size, out, end)


@njit
def recode_head(data: np.ndarray, scan: int, out: np.ndarray) -> int:
    """Writes the segments before the scan to `out`, our tables before the last of them (T.81, B.2); returns where they
    end, 0 where `out` is too small."""
    if out.size < scan + DHT_SEGMENT.size:
        return 0
    at: Any = 2
    end = copy(data[:2], out, 0)
    while at < scan:
        following = at + 2 + (np.int64(data[at + 2]) << 8 | np.int64(data[at + 3]))
        if data[at + 1] == SOS:
            end = copy(DHT_SEGMENT, out, end)
        if data[at + 1] != DHT:
            end = copy(data[at:following], out, end)
        at = following
    out[end - 8 : end - 3 : 2] = 0  # the tables of each component: the first for DC, the first for AC (T.81, B.2.3)
    return end


@njit
def copy(data: np.ndarray, out: np.ndarray, at: int) -> int:
    """Copies `data` to `out` from `at` on; returns where it ends."""
    out[at : at + data.size] = data
    return at + data.size


@njit
def spell_out(tables: Huffman, spelled: np.ndarray) -> None:
    """Writes of each table (T.81, F.2.2.3, DECODE) what 16 bits of the stream begin with: a symbol times 256 and the
    length of its code, bits; 0 for none."""
    for table in range(4):
        for ahead in range(1 << CODE_BITS):
            spelled[table, ahead] = 0
            for length in range(1, CODE_BITS + 1):
                if ahead < tables.limits[table, length]:
                    number = tables.firsts[table, length] + (ahead >> (CODE_BITS - length))
                    spelled[table, ahead] = np.int64(tables.symbols[table, number]) << 8 | length
                    break


@njit
def recode_scan(tools: Recoder, header: Header, clean: np.ndarray, size: int, out: np.ndarray, end: int) -> int:
    """Writes a scan in other codes to `out` from `end` on, and the end of the image. `clean` holds its `size` bytes
    without stuffing, and MCU_BYTES of room. Returns where it ends; 0 where a code is unknown or `out` too small."""
    side = BLOCK << header.halved
    num_mcus = padded(header.height, header.halved) // side * (padded(header.width, header.halved) // side)
    blocks, spelled, clean, out = unowned(tools.space.blocks), unowned(tools.spelled), unowned(clean), unowned(out)
    codes, lengths = unowned(tools.codes), unowned(tools.lengths)
    at: Any = 0  # the next bit
    count: Any = 0  # of the bits to be written
    waiting = np.uint64(0)  # these, the latest one lowest
    for _ in range(num_mcus):
        if at > 8 * size or end + 2 * MCU_BYTES > out.size:
            return 0
        for block in range(6 if header.halved else 3):
            k: Any = 0
            while k < 64:
                table = 0 if k == 0 else 1
                ahead = big_endian(clean, np.uint64(at >> 3)) << np.uint64(at & 7)
                entry = np.int64(spelled[blocks[block, 1 + table], ahead >> np.uint64(64 - CODE_BITS)])
                symbol, length = entry >> 8, entry & 255
                if length == 0 or lengths[table, symbol] == 0:
                    return 0
                bits = symbol & 15  # of the value that follows, which is written as it was read
                at += length + bits
                value = ahead << np.uint64(length) >> np.uint64(1) >> np.uint64(63 - bits)
                waiting = waiting << np.uint64(lengths[table, symbol]) | np.uint64(codes[table, symbol])
                waiting = waiting << np.uint64(bits) | value
                count += lengths[table, symbol] + bits
                if count >= 32:
                    for _ in range(4):
                        count -= 8
                        end = stuffed(out, end, waiting >> np.uint64(count))
                k = 1 if k == 0 else 64 if symbol == 0 else k + (symbol >> 4) + 1
    padding = -count & 7  # ones (T.81, F.1.2.3)
    waiting, count = waiting << np.uint64(padding) | np.uint64((1 << padding) - 1), count + padding
    while count > 0:
        count -= 8
        end = stuffed(out, end, waiting >> np.uint64(count))
    out[end], out[end + 1] = 0xFF, EOI
    return end + 2


@njit
def stuffed(out: np.ndarray, at: int, byte: Any) -> int:
    """Writes the lowest eight bits of `byte` at `at`, and a zero behind 0xFF (T.81, F.1.2.3); returns what is next."""
    out[at] = np.uint8(byte & np.uint64(255))
    if out[at] == 0xFF:
        out[at + 1] = 0
        return at + 2
    return at + 1
