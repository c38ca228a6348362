"""Huffman tables of a JPEG (ITU-T T.81, annex C) in the form that decodes fastest: up to two coefficients a lookup.

An entry of a table tells all of a code and of the bits that follow it, where both fit into the window of bits that it
is looked up by, and of a second code where that fits too:

    bits 0 to 7     how many bits of the stream it takes; 0 where a longer look is needed
    bits 8 to 15    how far the first code moves on in the zigzag order: its run of zeros and the coefficient itself
    bits 16 to 31   the first coefficient, signed
    bits 32 to 39   how far both move on
    bits 40 to 47   how many bits of the stream the first takes
    bits 48 to 63   the last coefficient, signed

Where a longer look is needed, bits 8 to 15 hold the length of the code, and from bit 16 on its symbol; all are 0 where
the code itself is longer than the window.
"""

from typing import Any, NamedTuple

import numpy as np

from imagefeed.pipeline.jit.intrinsics import bit_length
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import copy_values

WINDOW = 12  # bits of the stream, best for what conversion writes; a table is 32 kB
OTHERS_WINDOW = 11  # best for photographs as they come, in the standard's codes: half the tables
END = 128  # how far the end of a block moves on: beyond every index that a damaged run can reach
MOST_BITS = 11, 10  # of a difference of DC and of an AC coefficient, for 8-bit samples (T.81, F.1.2)
CODE_BITS = 16  # of the longest code
DEFINITION = 17 + 256  # bytes of the longest table in a DHT segment: class and slot, 16 counts, the symbols


class Huffman(NamedTuple):
    """Four tables: DC 0, DC 1, AC 0, AC 1."""

    window: int  # bits
    lookup: np.ndarray  # uint64 [4, 2 ** window], entries as above
    limits: np.ndarray  # int64 [4, 17]: codes of this length are below it, when 16 bits are read; 0: there are none
    firsts: np.ndarray  # int64 [4, 17]: symbol number of a code of this length, less the code
    symbols: np.ndarray  # uint8 [4, 256]
    sources: np.ndarray  # uint8 [4, DEFINITION]: the bytes that a table was made of, to know it again
    lengths: np.ndarray  # int64 [4]: how many bytes; 0 where there is no table


def no_tables(window: int) -> Huffman:
    """Memory for four tables, none of which is there yet."""
    return Huffman(
        window=window,
        lookup=np.zeros((4, 1 << window), np.uint64),
        limits=np.zeros((4, CODE_BITS + 1), np.int64),
        firsts=np.zeros((4, CODE_BITS + 1), np.int64),
        symbols=np.zeros((4, 256), np.uint8),
        sources=np.zeros((4, DEFINITION), np.uint8),
        lengths=np.zeros(4, np.int64),
    )


@njit
def same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two runs of as many bytes are equal."""
    different = 0
    for i in range(a.size):
        different |= a[i] ^ b[i]
    return different == 0


@njit
def define(huffman: Huffman, slot: int, definition: np.ndarray) -> bool:
    """Makes table `slot` (0 to 3) from its bytes in a DHT segment (T.81, B.2.4.2), unless it was made of these.

    Most images of a dataset share their tables. False where the codes are more than there is room for.
    """
    size = definition.size
    if huffman.lengths[slot] == size and same_bytes(definition, huffman.sources[slot, :size]):
        return True
    huffman.lengths[slot] = 0
    counts, symbols = definition[1:17], definition[17:]
    copy_values(symbols, huffman.symbols[slot])
    lookup = huffman.lookup[slot]
    lookup[:] = 0
    code = number = 0
    for length in range(1, CODE_BITS + 1):
        huffman.firsts[slot, length] = number - code
        for _ in range(counts[length - 1]):
            if code >= (1 << length) - 1 or (slot < 2 and symbols[number] > 15):
                return False  # a code of ones alone is forbidden (T.81, C.2), and so is a difference of over 15 bits
            if length <= huffman.window:
                fill(lookup, huffman.window, code, length, np.int64(symbols[number]), slot >= 2)
            code += 1
            number += 1
        huffman.limits[slot, length] = code << (CODE_BITS - length) if counts[length - 1] > 0 else 0
        code <<= 1
    if slot >= 2:
        pair_up(lookup)
    copy_values(definition, huffman.sources[slot])
    huffman.lengths[slot] = size
    return True


@njit
def fill(lookup: np.ndarray, window: int, code: int, length: int, symbol: Any, is_ac: bool) -> None:
    """Writes the entries of all windows that begin with a code."""
    free = window - length  # bits behind the code
    size = symbol & 15 if is_ac else symbol
    if size > min(free, MOST_BITS[int(is_ac)]):
        lookup[code << free : (code + 1) << free] = np.uint64(symbol << 16 | length << 8)
        return
    for rest in range(1 << free):
        value = extend(rest >> (free - size), size)
        lookup[code << free | rest] = single(value, advance(symbol, is_ac), length + size)


@njit
def pair_up(lookup: np.ndarray) -> None:
    """Adds the second code to the entries of windows that hold two."""
    bits = bit_length(np.uint64(lookup.size - 1))
    for window in range(lookup.size):
        first = np.int64(lookup[window])
        length = first >> 40 & 255
        move = first >> 8 & 255
        second = np.int64(lookup[window << length & lookup.size - 1])
        both = length + (second >> 40 & 255)
        if length > 0 and move < END and second & 255 != 0 and both <= bits:
            low = first & 0xFFFF00 | first & 0xFF000000 | both
            lookup[window] = np.uint64(low | length << 40 | (move + (second >> 8 & 255)) << 32) | np.uint64(
                second >> 16 & 0xFFFF
            ) << np.uint64(48)


@njit
def single(value: Any, move: Any, length: Any) -> Any:
    """The entry of one code: uint64."""
    value &= 0xFFFF
    return np.uint64(length << 40 | move << 32 | value << 16 | move << 8 | length) | np.uint64(value) << np.uint64(48)


@njit
def advance(symbol: Any, is_ac: bool) -> Any:
    """How far a symbol moves on in the zigzag order (T.81, F.1.2.2): past its zeros and its coefficient or to `END`."""
    if is_ac and symbol & 15 == 0 and symbol != 0xF0:
        return END
    return (symbol >> 4) + 1 if is_ac else 0


@njit
def extend(bits: Any, size: Any) -> Any:
    """The number that `size` bits stand for (T.81, F.2.2.1, EXTEND): below half of their range it is negative."""
    return bits if size == 0 or bits >> (size - 1) else bits - (1 << size) + 1


@njit
def long_code(window: int, limits: np.ndarray, firsts: np.ndarray, symbols: np.ndarray, slot: int, bits: Any) -> Any:
    """What table `slot` would hold of the code that `bits` begin with, longer than the window (T.81, F.2.2.3, DECODE);
    0 for none. It takes the fields of `Huffman` alone, because handing all of them on takes longer than the rest."""
    ahead = np.int64(bits >> np.uint64(64 - CODE_BITS))
    for length in range(window + 1, CODE_BITS + 1):
        if ahead < limits[slot, length]:
            symbol = np.int64(symbols[slot, firsts[slot, length] + (ahead >> (CODE_BITS - length))])
            return np.uint64(symbol << 16 | length << 8)
    return np.uint64(0)


@njit
def with_value(entry: Any, bits: Any, is_ac: bool) -> Any:
    """The entry of a code that does not fit into the window with its value; 0 for none."""
    length, symbol = np.int64(entry >> np.uint64(8) & np.uint64(255)), np.int64(entry >> np.uint64(16))
    size = symbol & 15 if is_ac else symbol
    if length == 0 or size > MOST_BITS[int(is_ac)]:
        return np.uint64(0)
    rest = bits << np.uint64(length)
    value = np.int64(rest >> np.uint64(1) >> np.uint64(63 - size))
    return single(extend(value, size), advance(symbol, is_ac), length + size)
