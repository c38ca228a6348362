"""A decoder of our own for the JPEGs that conversion writes, and everybody else's of that kind: baseline, 8 bits, three
components as 4:2:0 or 4:4:4, one scan, restart markers or none. Read it with ITU-T T.81 beside it.

    read_header   the segments before the scan: size, tables                             (T.81, annex B)
    read_scan     entropy-coded bytes -> coefficients -> samples of the wanted blocks    (T.81, annexes F and A.3.3)

How samples become rows of pixels stands in `jpeg/planes.py`, the arithmetic in `jpeg/idct.py`, the tables for the
codes in `jpeg/huffman_tables.py`.

The pixels are those of libjpeg-turbo's defaults to the bit. Whatever is not of that kind, or looks damaged in any way,
is refused without a reason: libjpeg-turbo then says what it is.
"""

from typing import Any, NamedTuple

import numpy as np

from imagefeed.pipeline.image.jpeg.huffman_tables import (
    DEFINITION,
    END,
    WINDOW,
    Huffman,
    define,
    long_code,
    no_tables,
    with_value,
)
from imagefeed.pipeline.image.jpeg.idct import BLOCK, STEP
from imagefeed.pipeline.image.jpeg.planes import PAIR, WIDEST, Planes, replicate, transform
from imagefeed.pipeline.jit.intrinsics import COPY_BYTES, big_endian, copy_block_until_ff
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import copy_values, unowned

SOI, EOI, SOS, DQT, DHT, DRI, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
SOF0, RST0, APP0, APP14, APP15 = 0xC0, 0xD0, 0xE0, 0xEE, 0xEF

BLOCKS = 6  # of an MCU at most: 4 of luma, 2 of chroma
PITCH = 2 * BLOCK  # from a row of a pair of blocks to the next
UNUSED = PAIR * BLOCKS // 2  # first of the coefficients that belong to no block: where the end of a block is written
MCU_BYTES = 2048  # more than the longest MCU takes: 6 blocks of 64 coefficients of 27 bits
BYTE = np.uint64(255)
JFIF = 0x4A46, 0x4946, 0x0001  # "JFIF", a zero, the version that there is


def zigzag() -> np.ndarray:
    """Where coefficient k of a block lies in its pair: uint16 [2 * END]; those beyond 63 lie beyond all blocks."""
    diagonals = [[(d - x, x) for x in range(BLOCK) if 0 <= d - x < BLOCK] for d in range(2 * BLOCK - 1)]
    order = [place for d, cells in enumerate(diagonals) for place in (cells if d % 2 == 0 else cells[::-1])]
    places = np.full(2 * END, UNUSED, np.uint16)
    places[: BLOCK * BLOCK] = [PITCH * row + column for row, column in order]
    return places


ZIGZAG = zigzag()


class DecodeScratch(NamedTuple):
    """What one thread decodes with."""

    huffman: Huffman
    quantisers: np.ndarray  # uint8 [4, 64], in zigzag order; 0 where there is no table
    weights: np.ndarray  # int16 [3, 8, 2, 8]: a pair of blocks' quantisers, by row, block and column
    blocks: np.ndarray  # int64 [6, 3]: of each block of an MCU the component and its tables (DC, AC)
    coefficients: np.ndarray  # int16 [3 * 128 + as many]: three pairs, and what belongs to no block
    clean: np.ndarray  # uint8 [bytes]: entropy-coded bytes without stuffing
    samples: np.ndarray  # uint8 [bytes]: the planes Y, Cb and Cr
    row: np.ndarray  # uint8 [bytes]: a row of pixels


class Header(NamedTuple):
    """What the segments before the scan say. `height` is 0 where the JPEG is not for this decoder."""

    height: int  # pixels
    width: int
    halved: int  # 1 for 4:2:0, 0 for 4:4:4
    interval: int  # MCUs between restart markers; 0 for none
    scan: int  # where the entropy-coded bytes begin


def new_scratch(num_pixels: int, window: int = WINDOW) -> DecodeScratch:
    """Memory for images of up to `num_pixels` pixels, whatever their shape; larger ones are refused. Codes are looked
    up by `window` bits."""
    return DecodeScratch(
        huffman=no_tables(window),
        quantisers=np.zeros((4, 64), np.uint8),
        weights=np.zeros((3, BLOCK, 2, BLOCK), np.int16),
        blocks=np.zeros((BLOCKS, 3), np.int64),
        coefficients=np.zeros(2 * UNUSED, np.int16),
        clean=np.zeros(num_pixels + MCU_BYTES, np.uint8),
        samples=np.zeros(3 * 2 * num_pixels + (1 << 16), np.uint8),
        row=np.zeros(3 * (WIDEST + 2 * STEP), np.uint8),
    )


@njit
def word(data: np.ndarray, at: int) -> Any:
    """Two bytes as a number."""
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])


@njit
def read_header(space: DecodeScratch, data: np.ndarray) -> Header:
    """The segments from the start of an image to its scan (T.81, B.2)."""
    refused = Header(0, 0, 0, 0, 0)
    height = width = halved = interval = 0
    jfif = False
    space.quantisers[:] = 0
    used = np.zeros(3, np.int64)  # each component's quantiser
    defined = np.zeros(4, np.int64)  # 1 for each table of codes that is there
    if data.size < 4 or data[0] != 0xFF or data[1] != SOI:
        return refused
    at = 2
    while at + 4 <= data.size and data[at] == 0xFF:
        marker, size = data[at + 1], word(data, at + 2) - 2
        at += 4
        end = at + size
        if size < 0 or end > data.size:
            return refused
        if marker == APP0:
            jfif |= size >= 14 and is_jfif(data, at)
        elif marker == APP14:  # Adobe's, which may say other colours
            return refused
        elif marker == DQT:
            if not read_quantisers(space, data[at:end]):
                return refused
        elif marker == DHT:
            if not read_codes(space, data[at:end], defined):
                return refused
        elif marker == SOF0:
            if size != 15 or height > 0 or data[at] != 8 or data[at + 5] != 3:
                return refused
            height, width = word(data, at + 1), word(data, at + 3)
            halved = 1 if data[at + 7] == 0x22 else 0
            if data[at + 7] != (0x22 if halved else 0x11) or data[at + 10] != 0x11 or data[at + 13] != 0x11:
                return refused
            if data[at + 6] == data[at + 9] or data[at + 6] == data[at + 12] or data[at + 9] == data[at + 12]:
                return refused
            for component in range(3):
                used[component] = data[at + 8 + 3 * component]
                space.blocks[component, 0] = data[at + 6 + 3 * component]  # its name, until the scan
        elif marker == DRI:
            if size != 2:
                return refused
            interval = word(data, at)
        elif marker == SOS:
            # Of less than three columns, chroma is not smoothed.
            if not jfif or height == 0 or width < 5 or not read_components(space, data[at:end], halved, used, defined):
                return refused
            return Header(height, width, halved, interval, end)
        elif marker != COM and not APP0 <= marker <= APP15:
            return refused
        at = end
    return refused


@njit
def is_jfif(data: np.ndarray, at: int) -> bool:
    """Whether a segment says that it is JFIF's, of version 1."""
    return word(data, at) == JFIF[0] and word(data, at + 2) == JFIF[1] and word(data, at + 4) == JFIF[2]


@njit
def read_quantisers(space: DecodeScratch, segment: np.ndarray) -> bool:
    """The tables of a DQT segment (T.81, B.2.4.1); False where one has 16 bits or is cut short."""
    at = 0
    while at < segment.size:
        if at + 65 > segment.size or segment[at] > 3:
            return False
        copy_values(segment[at + 1 : at + 65], space.quantisers[segment[at]])
        at += 65
    return True


@njit
def read_codes(space: DecodeScratch, segment: np.ndarray, defined: np.ndarray) -> bool:
    """The tables of a DHT segment (T.81, B.2.4.2); marks them as `defined` (int64 [4]). False where one is unsound."""
    at = 0
    while at < segment.size:
        if at + 17 > segment.size or segment[at] & 15 > 1 or segment[at] >> 4 > 1:
            return False
        slot: Any = np.int64(segment[at] >> 4) * 2 + np.int64(segment[at] & 15)
        end = at + 17
        for i in range(at + 1, at + 17):
            end += segment[i]
        if end - at > DEFINITION or end > segment.size or not define(space.huffman, slot, segment[at:end]):
            return False
        defined[slot] = 1
        at = end
    return True


@njit
def read_components(
    space: DecodeScratch, segment: np.ndarray, halved: int, used: np.ndarray, defined: np.ndarray
) -> bool:
    """The SOS segment (T.81, B.2.3): which tables components are coded with. `used` (int64 [3]) are their quantisers.

    False unless all three are in one scan, in full, with tables that are there.
    """
    if segment.size != 10 or segment[0] != 3 or segment[7] != 0 or segment[8] != 63 or segment[9] != 0:
        return False
    for component in range(3):
        name, slots = segment[1 + 2 * component], segment[2 + 2 * component]
        if name != space.blocks[component, 0] or slots >> 4 > 1 or slots & 15 > 1 or used[component] > 3:
            return False
        if defined[slots >> 4] == 0 or defined[2 + (slots & 15)] == 0:
            return False
        for k in range(BLOCK * BLOCK):
            if space.quantisers[used[component], k] == 0:
                return False
    describe_blocks(space, halved, used, segment)
    return True


@njit
def describe_blocks(space: DecodeScratch, halved: int, used: np.ndarray, segment: np.ndarray) -> None:
    """Writes what each block of an MCU is decoded with (T.81, A.2.3: all of Y, then Cb, then Cr), of a SOS segment."""
    num_luma = 4 if halved else 1
    for block in range(num_luma + 2):
        component = max(0, block - num_luma + 1)
        quantiser = space.quantisers[used[component]]
        space.blocks[block, 0] = component
        slots = segment[2 + 2 * component]
        space.blocks[block, 1], space.blocks[block, 2] = slots >> 4, 2 + (slots & 15)
        for k in range(BLOCK * BLOCK):
            row, column = ZIGZAG[k] // PITCH, ZIGZAG[k] % PITCH
            space.weights[block >> 1, row, block & 1, column] = quantiser[k]


@njit
def read_scan(
    space: DecodeScratch,
    header: Header,
    planes: Planes,
    data: np.ndarray,
    box: tuple[int, int, int, int],
    whole: bool,
) -> bool:
    """Decodes the blocks that the pixels of `box` (top, left, bottom, right) are made from into `planes`.

    False where it refuses. Unless asked for the `whole`, it ends after the last of these blocks, and damage behind it
    is not seen.
    """
    top, left, bottom, right = box
    side = BLOCK << header.halved  # of an MCU, pixels
    reach = 2 * header.halved  # pixels that a chroma sample reaches beyond its own
    down, across = -(-header.height // side), -(-header.width // side)
    first, last = max(0, top - reach) // side, min(down - 1, (bottom - 1 + reach) // side)
    start, end = max(0, left - reach) // side, min(across - 1, (right - 1 + reach) // side)
    clean = space.clean
    if clean.size < data.size + MCU_BYTES:
        clean = np.empty(data.size + MCU_BYTES, np.uint8)
    space.coefficients[:UNUSED] = 0  # a damaged JPEG may have left something
    interval = header.interval if header.interval > 0 else down * across
    at, restarts = header.scan, 0
    for mcu in range(0, down * across, interval):
        size, at = unstuff(data, at, clean)
        if size < 0:
            return False
        count = min(interval, down * across - mcu)
        if whole or (mcu + count > first * across and mcu < (last + 1) * across):
            stop = mcu + count if whole else min(mcu + count, (last + 1) * across)
            bits = read_interval(space, planes, clean, size, (mcu, stop, across), (first, last, start, end))
            finished = stop == mcu + count
            if bits > 8 * size or (finished and bits <= 8 * size - 8):  # at most seven bits pad the last byte
                return False
        if not whole and mcu + count >= (last + 1) * across:
            break
        expected = EOI if mcu + count == down * across else RST0 + restarts % 8
        if data[at + 1] != expected:
            return False
        at, restarts = at + 2, restarts + 1
    if header.halved:
        replicate(planes, first * BLOCK, (last + 1) * BLOCK)
    return True


@njit
def unstuff(data: np.ndarray, at: int, clean: np.ndarray) -> tuple[int, int]:
    """Copies entropy-coded bytes up to the next marker, without the zero that follows each 0xFF (T.81, F.1.2.3).

    Returns how many they are and where the marker stands; -1 where there is none.
    """
    size = 0
    while at + COPY_BYTES <= data.size:
        copied = min(COPY_BYTES, copy_block_until_ff(data.ctypes.data + at, clean.ctypes.data + size))
        at, size = at + copied, size + copied
        if copied < COPY_BYTES:
            if at + 1 >= data.size or data[at + 1] != 0:
                break
            at, size = at + 2, size + 1  # the 0xFF is copied already
    while at + 1 < data.size and (data[at] != 0xFF or data[at + 1] == 0):
        clean[size] = data[at]
        at, size = at + (2 if data[at] == 0xFF else 1), size + 1
    return (size, at) if at + 1 < data.size else (-1, at)


@njit
def read_interval(
    space: DecodeScratch,
    planes: Planes,
    clean: np.ndarray,
    size: int,
    mcus: tuple[int, int, int],
    wanted: tuple[int, int, int, int],
) -> int:
    """Decodes MCUs from the first of `size` bytes on; `mcus` are the first, the one after the last, and how many make
    a row. Of those `wanted` (first row, last, first column, last) the samples are made, too.

    Returns how many bits they took, which is more than there are where they are damaged.
    """
    damaged = 8 * size + 1
    mcu, stop, across = mcus
    first, last, start, end = wanted
    row, column = mcu // across, mcu % across
    tables = space.huffman
    lookup, limits, firsts, symbols = (
        tables.lookup,
        unowned(tables.limits),
        unowned(tables.firsts),
        unowned(tables.symbols),
    )
    clean, coefficients, blocks = unowned(clean), space.coefficients, space.blocks
    dc = np.zeros(3, np.int64)
    bits, left, at = np.uint64(0), np.uint64(0), np.uint64(0)  # the next bits, from the highest; how many; next byte
    window, rest = tables.window, np.uint64(64 - tables.window)
    for _ in range(mcu, stop):
        if at > np.uint64(size + 8):
            return damaged
        for block in range(6 if planes.halved else 3):
            component, dc_table, ac_table = blocks[block, 0], blocks[block, 1], blocks[block, 2]
            base = np.uint64((block >> 1) * PAIR + (block & 1) * BLOCK)
            bits |= big_endian(clean, at) >> left  # there are 56 at least then: two codes with their values
            at += (np.uint64(63) - left) >> np.uint64(3)
            left |= np.uint64(56)
            entry = lookup[dc_table, bits >> rest]
            if entry & BYTE == 0:
                if entry == 0:
                    entry = long_code(window, limits, firsts, symbols, dc_table, bits)
                entry = with_value(entry, bits, False)
                if entry == 0:
                    return damaged
            bits <<= entry & BYTE
            left -= entry & BYTE
            dc[component] += np.int16(entry >> np.uint64(16))
            coefficients[base] = dc[component]
            k = middle = np.uint64(0)
            before = bits
            while k < np.uint64(63):
                bits |= big_endian(clean, at) >> left
                at += (np.uint64(63) - left) >> np.uint64(3)
                left |= np.uint64(56)
                for _ in range(2):
                    entry = lookup[ac_table, bits >> rest]
                    if entry & BYTE == 0:
                        if entry == 0:
                            entry = long_code(window, limits, firsts, symbols, ac_table, bits)
                        entry = with_value(entry, bits, True)
                        if entry == 0:
                            return damaged
                    before = bits
                    bits <<= entry & BYTE
                    left -= entry & BYTE
                    middle = k + (entry >> np.uint64(8) & BYTE)
                    coefficients[base + np.uint64(ZIGZAG[middle])] = np.int16(entry >> np.uint64(16))
                    k += entry >> np.uint64(32) & BYTE
                    coefficients[base + np.uint64(ZIGZAG[k])] = np.int16(entry >> np.uint64(48))
                    if k >= np.uint64(63):
                        break
            if middle == np.uint64(63) and k > middle:  # the second code belongs to the next block
                bits = before << (entry >> np.uint64(40) & BYTE)
                left += (entry & BYTE) - (entry >> np.uint64(40) & BYTE)
                k = middle
            if np.uint64(63) < middle < np.uint64(END) or np.uint64(63) < k < np.uint64(END):
                return damaged
        if first <= row <= last and start <= column <= end:
            beyond = transform(planes, row, column, coefficients.ctypes.data, space.weights.ctypes.data)
            if beyond != 0:
                return damaged
        coefficients[:UNUSED] = 0
        column += 1
        if column == across:
            row, column = row + 1, 0
    return int(8 * np.int64(at) - np.int64(left))
