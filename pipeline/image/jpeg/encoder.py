"""An encoder of our own: baseline, 8 bits, three components as 4:2:0 or 4:4:4, one scan. Read it with ITU-T T.81 beside
it.

    new_encoder   the segments before the scan, and tables: all that images share        (T.81, annex B)
    encode        pixels -> samples -> coefficients -> entropy-coded bytes               (T.81, annexes A and F)

With the standard's codes the bytes are libjpeg-turbo's; with the shared ones (`jpeg/huffman_codes.py`) coefficients and
pixels are. On the way the coefficients become samples again, so that what a reader will see is known without decoding.
The arithmetic stands in `jpeg/fdct.py`.
"""

from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.image.jpeg.decoder import APP0, DHT, DQT, EOI, SOF0, SOI, SOS, ZIGZAG
from imagefeed.pipeline.image.jpeg.fdct import forward_dct_pair, reciprocals, split_full, split_halved
from imagefeed.pipeline.image.jpeg.huffman_codes import CHROMA, LUMA, SHARED, Table, codes_of
from imagefeed.pipeline.image.jpeg.idct import BLOCK, STEP
from imagefeed.pipeline.image.jpeg.planes import PAIR, WIDEST, Planes, padded, replicate, transform
from imagefeed.pipeline.jit.intrinsics import COPY_BYTES, bit_length, copy_block_until_ff, lowest_bit, store_big_endian
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import address_of, array_at, copy_values, unowned

ROOM = 4096  # bytes: more than the segments before the scan take
SIZE_AT = 25 + 2 * 69  # where the head holds height and width, two bytes each
ZERO_RUN = np.uint64(0xF0)  # the symbol of sixteen zeros
END_OF_BLOCK = np.uint64(0)
ONE, BYTE = np.uint64(1), np.uint64(255)

# Of the standard's annex K, tables K.1 and K.2: row by row.
LUMA_QUANTISER = """
16 11 10 16 24 40 51 61     12 12 14 19 26 58 60 55     14 13 16 24 40 57 69 56     14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77   24 35 55 64 81 104 113 92   49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99
"""
CHROMA_QUANTISER = """
17 18 24 47 99 99 99 99     18 21 26 66 99 99 99 99     24 26 56 99 99 99 99 99     47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99     99 99 99 99 99 99 99 99     99 99 99 99 99 99 99 99     99 99 99 99 99 99 99 99
"""


class Encoder(NamedTuple):
    """What one thread encodes with, for one quality, sampling and choice of codes."""

    head: np.ndarray  # uint8 [bytes]: the segments before the scan
    halved: int  # 1 for 4:2:0, 0 for 4:4:4
    codes: np.ndarray  # uint64 [3, 2, 256]: of each component, DC and AC, see `codes_of`
    quantisers: np.ndarray  # int16 [3, 8, 2, 8]: of a pair of blocks, by row, block and column
    divisors: np.ndarray  # int16 [3, 3, 8, 2, 8]: the same of each pair, and their `reciprocals`
    coefficients: np.ndarray  # int16 [3, 8, 2, 8], of an MCU
    marks: np.ndarray  # uint64 [6]: which of them are not 0, see `forward_dct_pair`
    spread: np.ndarray  # uint64 [8, 256]: the marks of a row's coefficients in zigzag order
    samples: np.ndarray  # uint8 [3, 16, columns]: a row of MCUs
    edges: np.ndarray  # uint8 [2, bytes]: rows of pixels whose last pixel is repeated


def new_encoder(quality: int, halved: bool, shared: bool) -> Encoder:
    """An encoder. `quality` is 1 to 100, in the scale of libjpeg; `shared` codes, or the standard's."""
    tables = [SHARED, SHARED, SHARED] if shared else [LUMA, CHROMA, CHROMA]
    luma, chroma = (scaled(table, quality) for table in (LUMA_QUANTISER, CHROMA_QUANTISER))
    blocks = [luma] * 4 + [chroma] * 2 if halved else [luma, chroma, chroma, chroma]
    quantisers = np.ones((3, BLOCK, 2, BLOCK), np.int16)
    for number, block in enumerate(blocks):
        quantisers[number // 2, :, number % 2] = block
    return Encoder(
        head=np.frombuffer(head(luma, chroma, halved, shared), np.uint8).copy(),
        halved=int(halved),
        codes=np.array([[codes_of(table) for table in pair] for pair in tables]),
        quantisers=quantisers,
        divisors=np.concatenate([quantisers[None], reciprocals(quantisers)]).swapaxes(0, 1).copy(),
        coefficients=np.zeros((3, BLOCK, 2, BLOCK), np.int16),
        marks=np.zeros(6, np.uint64),
        spread=spread_marks(),
        samples=np.zeros((3, 2 * BLOCK, WIDEST + 2 * STEP), np.uint8),
        edges=np.zeros((2, 3 * (WIDEST + 2 * STEP)), np.uint8),
    )


def scaled(text: str, quality: int) -> np.ndarray:
    """A quantiser of annex K for a quality, as libjpeg scales it: int64 [8, 8]."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = np.array(text.split(), np.int64).reshape(BLOCK, BLOCK)
    return np.clip((table * percent + 50) // 100, 1, 255)


def head(luma: np.ndarray, chroma: np.ndarray, halved: bool, shared: bool) -> bytes:
    """The segments before the scan (T.81, B.2) of an image without a size."""

    def segment(marker: int, *content: bytes) -> bytes:
        joined = b"".join(content)
        return bytes([0xFF, marker]) + (len(joined) + 2).to_bytes(2, "big") + joined

    def coded(slot: int, tables: tuple[Table, Table]) -> list[bytes]:
        return [bytes([kind << 4 | slot]) + each for kind, each in enumerate(tables)]

    zigzag = [divmod(int(place), 2 * BLOCK) for place in ZIGZAG[: BLOCK * BLOCK]]
    quantisers = [bytes(int(table[place]) for place in zigzag) for table in (luma, chroma)]
    sampling = 0x22 if halved else 0x11
    slots = [0, 0, 0] if shared else [0, 0x11, 0x11]  # the tables of each component, DC and AC
    if shared:
        codes = segment(DHT, *coded(0, SHARED))
    else:
        codes = b"".join(segment(DHT, each) for each in coded(0, LUMA) + coded(1, CHROMA))
    return (
        bytes([0xFF, SOI])
        + segment(APP0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
        + b"".join(segment(DQT, bytes([slot]), table) for slot, table in enumerate(quantisers))
        + segment(SOF0, bytes([8, 0, 0, 0, 0, 3, 1, sampling, 0, 2, 0x11, 1, 3, 0x11, 1]))
        + codes
        + segment(SOS, bytes([3, 1, slots[0], 2, slots[1], 3, slots[2], 0, 63, 0]))
    )


def spread_marks() -> np.ndarray:
    """Of each row of a block, what its eight marks are in zigzag order: uint64 [8, 256]."""
    spread = np.zeros((BLOCK, 256), np.uint64)
    marks = np.arange(256, dtype=np.uint64)
    for k, place in enumerate(ZIGZAG[: BLOCK * BLOCK]):
        row, column = divmod(int(place), 2 * BLOCK)
        spread[row] |= (marks >> np.uint64(column) & ONE) << np.uint64(k)
    return spread


@njit
def most_bytes(height: int, width: int) -> int:
    """Memory that `encode` needs: 256 bytes a block, of 64 coefficients of 27 bits at most, and some for the rest."""
    return 3 * 256 * (padded(height, 1) // BLOCK) * (padded(width, 1) // BLOCK) + ROOM


@njit
def encode(encoder: Encoder, image: np.ndarray, clean: np.ndarray, out: np.ndarray, planes: Planes) -> int:
    """Writes `image` (uint8 [H, W, 3], RGB, contiguous) as a JPEG to `out`; returns its length, 0 where it has no room.

    The samples that it decodes to go to `planes`, which are of its size and sampling. `clean` and `out` (uint8) have
    `most_bytes`; `clean` will hold the entropy-coded bytes without stuffing.
    """
    height, width = image.shape[0], image.shape[1]
    side = BLOCK << encoder.halved
    num_luma = 4 if encoder.halved else 1
    clean, coefficients = unowned(clean), unowned(encoder.coefficients.reshape(-1))
    codes, marks, spread = unowned(encoder.codes), unowned(encoder.marks), unowned(encoder.spread)
    dc = np.zeros(3, np.int64)
    bits, count, at = np.uint64(0), np.uint64(0), np.uint64(0)  # what is not written yet, from the highest; where to
    for row in range(padded(height, encoder.halved) // side):
        split_rows(encoder, image, row * side)
        for column in range(padded(width, encoder.halved) // side):
            forward(encoder, column)
            for block in range(num_luma + 2):
                component = max(0, block - num_luma + 1)
                base = (block >> 1) * PAIR + (block & 1) * BLOCK
                found, number = np.uint64(0), np.int64(0)
                # A block of luma with no pixel in it repeats the DC of the one before (as libjpeg has it).
                if block >= num_luma or is_seen(encoder.halved, row, column, block, height, width):
                    for y in range(BLOCK):
                        found |= spread[y, marks[block] >> np.uint64(8 * y) & BYTE]
                    number = coefficients[base] - dc[component]  # the difference of DC (T.81, F.1.2.1)
                    dc[component] = coefficients[base]
                found &= ~ONE
                table, k, symbol = 0, np.uint64(0), bit_length(np.uint64(abs(number)))
                while True:
                    size = symbol & np.uint64(15)
                    code = codes[component, table, symbol]
                    value = np.uint64(number + (number >> 63)) & ((ONE << size) - ONE)
                    count += (code & BYTE) + size
                    bits |= ((code >> np.uint64(8)) << size | value) << (np.uint64(64) - count)
                    store_big_endian(clean, at, bits)
                    at += count >> np.uint64(3)
                    bits <<= count & ~np.uint64(7)
                    count &= np.uint64(7)
                    # What is not zero, and the zeros before it (F.1.2.2).
                    if found == 0:
                        break
                    place = lowest_bit(found)
                    table, zeros = 1, place - k - ONE
                    if zeros > np.uint64(15):
                        number, symbol = np.int64(0), ZERO_RUN
                        k += np.uint64(16)
                    else:
                        number = np.int64(coefficients[base + ZIGZAG[place]])
                        symbol = zeros << np.uint64(4) | bit_length(np.uint64(abs(number)))
                        found &= found - ONE
                        k = place
                if k < np.uint64(63):
                    code = codes[component, 1, END_OF_BLOCK]
                    count += code & BYTE
                    bits |= (code >> np.uint64(8)) << (np.uint64(64) - count)
            transform(planes, row, column, coefficients.ctypes.data, encoder.quantisers.ctypes.data)
    if encoder.halved:
        replicate(planes, 0, padded(height, 1) // 2)
    bits |= ~np.uint64(0) >> count  # ones fill the last byte (F.1.2.3)
    store_big_endian(clean, at, bits)
    return finish(encoder, height, width, clean, int(at + (count + np.uint64(7) >> np.uint64(3))), out)


@njit
def is_seen(halved: int, row: int, column: int, block: int, height: int, width: int) -> bool:
    """Whether a block of luma has a pixel of the image in it."""
    y, x = (2 * row + (block >> 1), 2 * column + (block & 1)) if halved else (row, column)
    return y * BLOCK < height and x * BLOCK < width


@njit
def split_rows(encoder: Encoder, image: np.ndarray, top: int) -> None:
    """Fills `Encoder.samples` with the MCUs whose first row of pixels is `top`; edges are repeated (T.81, A.2.4)."""
    height, width = image.shape[0], image.shape[1]
    samples, stride, plane = encoder.samples, encoder.samples.strides[1], encoder.samples.strides[0]
    step = 1 + encoder.halved
    side = BLOCK * step
    rows = min(side, height - top)  # that there are
    for y in range(0, rows, step):
        above = row_of(image, top + y, encoder.edges[0])
        luma = samples.ctypes.data + y * stride
        cb = samples.ctypes.data + plane + (y >> encoder.halved) * stride
        if encoder.halved:
            below = row_of(image, min(top + y + 1, height - 1), encoder.edges[1])
            for x in range(0, padded(width, 1), STEP):
                half = x >> 1
                split_halved(above + 3 * x, below + 3 * x, luma + x, luma + stride + x, cb + half, cb + plane + half)
        else:
            for x in range(0, padded(width, 0), STEP):
                split_full(above + 3 * x, luma + x, cb + x, cb + plane + x)
    for component in range(3):
        there, needed = (rows, side) if component == 0 else ((rows + step - 1) // step, BLOCK)
        for y in range(there, needed):
            copy_values(samples[component, there - 1], samples[component, y])


@njit
def row_of(image: np.ndarray, y: int, edge: np.ndarray) -> int:
    """The address of a row of pixels; of a copy in `edge` with its last pixel repeated, where vectors would read on."""
    width = image.shape[1]
    if width % STEP == 0:
        return image.ctypes.data + 3 * width * y
    copy_values(array_at(address_of(image) + 3 * width * y, 3 * width, edge), edge)
    for x in range(3 * width, 3 * (width + STEP)):
        edge[x] = edge[x - 3]
    return edge.ctypes.data


@njit
def forward(encoder: Encoder, column: int) -> None:
    """The coefficients of an MCU."""
    plane, stride = encoder.samples.strides[0], encoder.samples.strides[1]
    divisors = encoder.divisors.ctypes.data
    coefficients, marks = encoder.coefficients.ctypes.data, encoder.marks.ctypes.data
    here = encoder.samples.ctypes.data + BLOCK * column
    cb, cr = here + plane, here + 2 * plane
    luma = here + BLOCK * column
    below = luma + BLOCK * stride
    pairs = ((here, cb), (cr, cr), (cr, cr))
    if encoder.halved:
        pairs = ((luma, luma + BLOCK), (below, below + BLOCK), (cb, cr))
    for number in range(3 if encoder.halved else 2):
        left, right = pairs[number]
        at = 2 * PAIR * number
        forward_dct_pair(left, right, stride, divisors + 3 * at, coefficients + at, marks + 16 * number)


@njit
def finish(encoder: Encoder, height: int, width: int, clean: np.ndarray, size: int, out: np.ndarray) -> int:
    """Writes an image with `size` entropy-coded bytes to `out` (T.81, B.2): the segments before them, a zero behind
    each 0xFF of them (F.1.2.3), the end. Returns its length; 0 where `out` is too small, as for nothing but 0xFF."""
    head = encoder.head
    copy_values(head, out)
    out[SIZE_AT], out[SIZE_AT + 1] = height >> 8, height & 255
    out[SIZE_AT + 2], out[SIZE_AT + 3] = width >> 8, width & 255
    at, end = 0, head.size
    while at < size:
        if end + 2 * COPY_BYTES > out.size:
            return 0
        copied = min(COPY_BYTES, copy_block_until_ff(clean.ctypes.data + at, out.ctypes.data + end), size - at)
        at, end = at + copied, end + copied
        if copied < COPY_BYTES and at < size:
            out[end + 1] = 0  # the 0xFF is copied already
            at, end = at + 1, end + 2
    out[end], out[end + 1] = 0xFF, EOI
    return end + 2
