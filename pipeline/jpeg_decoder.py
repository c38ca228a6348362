"""A decoder of our own for the JPEGs that conversion writes, and everybody else's of that kind: baseline, 8 bits, three
components as 4:2:0 or 4:4:4, one scan, restart markers or none. Read it with ITU-T T.81 beside it.

    read_header   the segments before the scan: size, tables                             (T.81, annex B)
    read_scan     entropy-coded bytes -> coefficients -> samples of the wanted blocks    (T.81, annexes F and A.3.3)
    planes_of     the samples as what rows of RGB pixels are made from, one row at a time

The pixels are those of libjpeg-turbo's defaults to the bit. Whatever is not of that kind, or looks damaged in any way,
is refused without a reason: libjpeg-turbo then says what it is.
"""

from typing import NamedTuple

import numpy as np

from pipeline.compiled import njit
from pipeline.intrinsics import COPY_BYTES, big_endian, copy_block_until_ff
from pipeline.jpeg_pixels import BLOCK, MARGIN, STEP, colour_full, colour_halved, inverse_dct_pair
from pipeline.jpeg_tables import (
    CODE_BITS,
    DEFINITION,
    END,
    MOST_BITS,
    WINDOW,
    Huffman,
    advance,
    define,
    extend,
    long_symbol,
    no_tables,
    single,
)
from pipeline.pointers import unowned

SOI, EOI, SOS, DQT, DHT, DRI, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
SOF0, RST0, APP0, APP14, APP15 = 0xC0, 0xD0, 0xE0, 0xEE, 0xEF

BLOCKS = 6  # of an MCU at most: 4 of luma, 2 of chroma
PAIR = 2 * BLOCK * BLOCK  # coefficients that are transformed at once
UNUSED = PAIR * BLOCKS // 2  # first of the coefficients that belong to no block: where the end of a block is written
MOST_DC = 8191  # a DC coefficient beyond is no image's, and libjpeg-turbo's vectors overflow
MCU_BYTES = 2048  # more than the longest MCU takes: 6 blocks of 64 coefficients of 27 bits
WIDEST = 65535  # pixels
BYTE = np.uint64(255)


def zigzag() -> np.ndarray:
    """Where coefficient k of a block lies in its pair: uint16 [2 * END]; those beyond 63 lie beyond all blocks."""
    diagonals = [[(d - x, x) for x in range(BLOCK) if 0 <= d - x < BLOCK] for d in range(2 * BLOCK - 1)]
    order = [place for d, cells in enumerate(diagonals) for place in (cells if d % 2 == 0 else cells[::-1])]
    places = np.full(2 * END, UNUSED, np.uint16)
    places[: BLOCK * BLOCK] = [2 * BLOCK * row + column for row, column in order]
    return places


PLACES = zigzag()


class Workspace(NamedTuple):
    """What one thread decodes with."""

    huffman: Huffman
    quantisers: np.ndarray  # uint8 [4, 64], in zigzag order; 0 where there is no table
    weights: np.ndarray  # int16 [3, 8, 2, 8]: a pair of blocks' quantisers, by row, block and column
    blocks: np.ndarray  # int64 [6, 4]: of each block of an MCU the component, its tables (DC, AC), its largest DC
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


class Planes(NamedTuple):
    """A decoded image before it has colours; only the blocks that were wanted hold anything."""

    samples: np.ndarray  # uint8 [3, rows, stride]: column x at MARGIN + x
    halved: int
    height: int  # pixels
    row: np.ndarray  # uint8 [bytes]


def workspace(num_pixels: int) -> Workspace:
    """Memory for images of up to `num_pixels` pixels, whatever their shape; larger ones are refused."""
    return Workspace(
        huffman=no_tables(),
        quantisers=np.zeros((4, 64), np.uint8),
        weights=np.zeros((3, BLOCK, 2, BLOCK), np.int16),
        blocks=np.zeros((BLOCKS, 4), np.int64),
        coefficients=np.zeros(2 * UNUSED, np.int16),
        clean=np.zeros(num_pixels + MCU_BYTES, np.uint8),
        samples=np.zeros(3 * 2 * num_pixels + (1 << 16), np.uint8),
        row=np.zeros(3 * (WIDEST + 2 * STEP), np.uint8),
    )


@njit
def word(data: np.ndarray, at: int) -> int:
    """Two bytes as a number."""
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])


@njit
def read_header(space: Workspace, data: np.ndarray) -> Header:
    """The segments from the start of an image to its scan (T.81, B.2)."""
    refused = Header(0, 0, 0, 0, 0)
    height = width = halved = interval = 0
    jfif = False
    space.quantisers[:] = 0
    used = np.zeros(3, np.int64)  # each component's quantiser
    defined = np.zeros(4, np.bool_)
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
            name = data[at : at + 5]
            jfif |= size >= 14 and name[0] == 74 and name[1] == 70 and name[2] == 73 and name[3] == 70 and name[4] == 0
        elif marker == APP14:  # Adobe's, which may say other colours
            return refused
        elif marker == DQT:
            while at < end:
                if at + 65 > end or data[at] > 3:  # a table of 16 bits, or cut short
                    return refused
                space.quantisers[data[at]] = data[at + 1 : at + 65]
                at += 65
        elif marker == DHT:
            while at < end:
                if at + 17 > end or data[at] & 15 > 1 or data[at] >> 4 > 1:
                    return refused
                slot = np.int64(data[at] >> 4) * 2 + np.int64(data[at] & 15)
                symbols = 0
                for count in data[at + 1 : at + 17]:
                    symbols += count
                if symbols > DEFINITION - 17 or at + 17 + symbols > end:
                    return refused
                if not define(space.huffman, slot, data[at : at + 17 + symbols]):
                    return refused
                defined[slot] = True
                at += 17 + symbols
        elif marker == SOF0:
            if size != 15 or height > 0 or data[at] != 8 or data[at + 5] != 3:
                return refused
            height, width = word(data, at + 1), word(data, at + 3)
            halved = np.int64(data[at + 7] == 0x22)
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
            if size != 10 or not jfif or height == 0 or width < 5 or data[at] != 3:
                return refused  # chroma of less than three columns is not smoothed
            if data[at + 7] != 0 or data[at + 8] != 63 or data[at + 9] != 0:
                return refused
            tables = np.zeros((3, 2), np.int64)
            for component in range(3):
                name, slots = data[at + 1 + 2 * component], data[at + 2 + 2 * component]
                if name != space.blocks[component, 0] or slots >> 4 > 1 or slots & 15 > 1 or used[component] > 3:
                    return refused
                tables[component, 0], tables[component, 1] = slots >> 4, 2 + (slots & 15)
                if not defined[tables[component, 0]] or not defined[tables[component, 1]]:
                    return refused
                if space.quantisers[used[component]].min() == 0:
                    return refused
            describe_blocks(space, halved, used, tables)
            return Header(height, width, halved, interval, end)
        elif marker != COM and not APP0 <= marker <= APP15:
            return refused
        at = end
    return refused


@njit
def describe_blocks(space: Workspace, halved: int, used: np.ndarray, tables: np.ndarray) -> None:
    """Writes what each block of an MCU is decoded with (T.81, A.2.3: all of Y, then Cb, then Cr)."""
    num_luma = 4 if halved else 1
    for block in range(num_luma + 2):
        component = max(0, block - num_luma + 1)
        quantiser = space.quantisers[used[component]]
        space.blocks[block, 0] = component
        space.blocks[block, 1], space.blocks[block, 2] = tables[component]
        space.blocks[block, 3] = MOST_DC // np.int64(quantiser[0])
        pair = space.weights[block >> 1].reshape(PAIR)
        for k in range(BLOCK * BLOCK):
            pair[PLACES[k] + BLOCK * (block & 1)] = quantiser[k]


@njit
def read_scan(
    space: Workspace, header: Header, data: np.ndarray, top: int, left: int, bottom: int, right: int, whole: bool
) -> bool:
    """Decodes the blocks that the pixels from (top, left) to before (bottom, right) are made from; False to refuse.

    Until it is `whole`, it ends after the last of them, and what lies behind is not looked at.
    """
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
            bits = read_interval(space, header, clean, size, mcu, stop, across, (first, last, start, end))
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
        planes = planes_of(space, header)
        for plane in range(1, 3):
            for y in range(first * BLOCK, (last + 1) * BLOCK):
                replicate(planes.samples[plane, y], (header.width + 1) // 2)
    return True


@njit
def replicate(row: np.ndarray, width: int) -> None:
    """Gives a row of chroma samples a neighbour at either end, equal to the last."""
    row[MARGIN - 1] = row[MARGIN]
    row[MARGIN + width] = row[MARGIN + width - 1]


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
        at, size = at + 1 + np.int64(data[at] == 0xFF), size + 1
    return (size, at) if at + 1 < data.size else (-1, at)


@njit
def read_interval(
    space: Workspace,
    header: Header,
    clean: np.ndarray,
    size: int,
    mcu: int,
    stop: int,
    across: int,
    wanted: tuple[int, int, int, int],
) -> int:
    """Decodes MCUs `mcu` to before `stop`, which begin at the first of `size` bytes; samples of the wanted ones only.

    Returns how many bits they took, more than there are where they are damaged.
    """
    damaged = 8 * size + 1
    first, last, start, end = wanted
    huffman, coefficients, blocks = borrowed(space.huffman), unowned(space.coefficients), unowned(space.blocks)
    lookup = huffman.lookup
    clean = unowned(clean)
    planes = planes_of(space, header).samples
    plane, stride, origin, weights = (
        planes.strides[0],
        planes.strides[1],
        planes.ctypes.data + MARGIN,
        space.weights.ctypes.data,
    )
    num_blocks = 6 if header.halved else 3
    dc = np.zeros(3, np.int64)
    bits, left, at = np.uint64(0), np.uint64(0), np.uint64(0)  # the next bits, from the highest; how many; next byte
    rest = np.uint64(64 - WINDOW)
    row, column = mcu // across, mcu % across
    for _ in range(mcu, stop):
        if at > np.uint64(size + 8):
            return damaged
        for block in range(num_blocks):
            component, dc_table, ac_table = blocks[block, 0], blocks[block, 1], blocks[block, 2]
            base = np.uint64((block >> 1) * PAIR + (block & 1) * BLOCK)
            # At least 56 bits, two codes with their values.
            bits |= big_endian(clean, at) >> left
            at += (np.uint64(63) - left) >> np.uint64(3)
            left |= np.uint64(56)
            entry = lookup[dc_table, bits >> rest]
            if entry & BYTE == 0:
                if entry == 0:
                    entry = long_code(huffman, dc_table, bits)
                entry = with_value(entry, bits, False)
            length = entry & BYTE
            bits <<= length
            left -= length
            dc[component] += np.int16(entry >> np.uint64(16))
            if length == 0 or abs(dc[component]) > blocks[block, 3]:
                return damaged
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
                            entry = long_code(huffman, ac_table, bits)
                        entry = with_value(entry, bits, True)
                        if entry == 0:
                            return damaged
                    before = bits
                    bits <<= entry & BYTE
                    left -= entry & BYTE
                    middle = k + (entry >> np.uint64(8) & BYTE)
                    coefficients[base + np.uint64(PLACES[middle])] = np.int16(entry >> np.uint64(16))
                    k += entry >> np.uint64(32) & BYTE
                    coefficients[base + np.uint64(PLACES[k])] = np.int16(entry >> np.uint64(48))
                    if k >= np.uint64(63):
                        break
            if middle == np.uint64(63) and k > middle:  # the second code belongs to the next block
                length = entry >> np.uint64(40) & BYTE
                bits = before << length
                left += (entry & BYTE) - length
                k = middle
            if np.uint64(63) < k < np.uint64(END):
                return damaged
        if first <= row <= last and start <= column <= end:
            transform(
                origin + BLOCK * (row * stride + column),
                plane,
                stride,
                header.halved,
                row,
                column,
                coefficients.ctypes.data,
                weights,
            )
        coefficients[:UNUSED] = 0
        column += 1
        if column == across:
            row, column = row + 1, 0
    return 8 * np.int64(at) - np.int64(left)


@njit
def borrowed(huffman: Huffman) -> Huffman:
    return Huffman(
        unowned(huffman.lookup),
        unowned(huffman.limits),
        unowned(huffman.firsts),
        unowned(huffman.symbols),
        unowned(huffman.sources),
        unowned(huffman.lengths),
    )


@njit
def long_code(huffman: Huffman, slot: int, bits: int) -> int:
    """What a table would hold of a code that is longer than its window: see `jpeg_tables`; 0 for none."""
    length, symbol = long_symbol(huffman, slot, np.int64(bits >> np.uint64(64 - CODE_BITS)))
    return np.uint64(symbol << 16 | length << 8)


@njit
def with_value(entry: int, bits: int, is_ac: bool) -> int:
    """The entry of a code that does not fit into the window with its value; 0 for none."""
    length, symbol = np.int64(entry >> np.uint64(8) & BYTE), np.int64(entry >> np.uint64(16))
    size = symbol & 15 if is_ac else symbol
    if length == 0 or size > MOST_BITS[int(is_ac)]:
        return np.uint64(0)
    rest = bits << np.uint64(length)
    value = np.int64(rest >> np.uint64(1) >> np.uint64(63 - size))
    return single(extend(value, size), advance(symbol, is_ac), length + size)


@njit
def transform(
    origin: int, plane: int, stride: int, halved: int, row: int, column: int, coefficients: int, weights: int
) -> None:
    """The samples of an MCU's blocks (T.81, A.2.3), from its coefficients."""
    cb, cr = origin + plane, origin + 2 * plane
    if halved:
        luma = origin + BLOCK * (row * stride + column)
        inverse_dct_pair(coefficients, weights, luma, luma + BLOCK, stride)
        luma += BLOCK * stride
        inverse_dct_pair(coefficients + 2 * PAIR, weights + 2 * PAIR, luma, luma + BLOCK, stride)
        inverse_dct_pair(coefficients + 4 * PAIR, weights + 4 * PAIR, cb, cr, stride)
    else:
        inverse_dct_pair(coefficients, weights, origin, cb, stride)
        inverse_dct_pair(coefficients + 2 * PAIR, weights + 2 * PAIR, cr, cr, stride)


@njit
def planes_of(space: Workspace, header: Header) -> Planes:
    """Where the samples of an image are, or will be."""
    side = BLOCK << header.halved
    rows = -(-header.height // side) * side
    stride = -(-header.width // side) * side + 2 * MARGIN
    return Planes(space.samples[: 3 * rows * stride].reshape(3, rows, stride), header.halved, header.height, space.row)


@njit
def fits(space: Workspace, header: Header) -> bool:
    """Whether there is room for an image."""
    side = BLOCK << header.halved
    return 3 * (header.height + side) * (header.width + side + 2 * MARGIN) <= space.samples.size


@njit
def pixel_row(planes: Planes, y: int, left: int, count: int) -> int:
    """Makes `count` pixels of row `y`, from column `left` on; returns the address of the first, until the next call."""
    samples, halved = planes.samples, planes.halved
    stride, plane = samples.strides[1], samples.strides[0]
    begin = left & ~1
    luma = samples.ctypes.data + y * stride + MARGIN + begin
    line, shift = (y >> 1, begin >> 1) if halved else (y, begin)
    near = samples.ctypes.data + plane + line * stride + MARGIN + shift
    far = near
    if halved:
        beside = line + 1 if y & 1 else line - 1
        beside = min(max(beside, 0), (planes.height - 1) >> 1)
        far = near + (beside - line) * stride
    out = planes.row.ctypes.data
    for x in range(0, count + left - begin, STEP):
        if halved:
            half = x >> 1
            colour_halved(luma + x, near + half, far + half, near + plane + half, far + plane + half, out + 3 * x)
        else:
            colour_full(luma + x, near + x, near + plane + x, out + 3 * x)
    return out + 3 * (left - begin)
