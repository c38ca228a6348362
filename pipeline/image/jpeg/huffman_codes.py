"""The Huffman codes that JPEGs are written in (ITU-T T.81, annex C): those of the standard's annex K, or shared ones.

The standard's are four tables, two for luma and two for chroma. The shared ones are one for all DC differences and one
for all AC coefficients, of every image of every dataset: a decoder makes its lookups once, and a core's first cache
holds them. No code of theirs is longer than the 12 bits that `jpeg.tables` looks up at once. They are the best of that
kind for photographs at quality 90 (`benchmarks/fit_huffman.py` finds them), and no other quality's own tables decode
faster.
"""

import numpy as np

from imagefeed.pipeline.image.jpeg.huffman_tables import CODE_BITS

Table = bytes  # as a DHT segment holds it, without class and slot (T.81, B.2.4.2): 16 counts, then the symbols
LONGEST = 12  # bits of a shared code
DC_SYMBOLS = bytes(range(12))  # how many bits a difference takes
AC_SYMBOLS = bytes([0x00, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 11)])

# Symbols by the length of their code from 1 bit on, in hexadecimal; all others have the longest.
DC_SHORT = ["", "", "01020304050607", "00", "08", "09", "0a", "0b"]
AC_SHORT = ["", "01", "0203", "00040511", "06122131", "1341", "07225161", "14327181", "082391a1", "1542b1c1d1f0"]
AC_SHORT += ["335262e1"]
# The same of annex K: tables K.3 to K.6. The longest codes there are of 16 bits.
LUMA_DC = ["", "00", "0102030405", "06", "07", "08", "09", "0a", "0b"]
CHROMA_DC = ["", "000102", "03", "04", "05", "06", "07", "08", "09", "0a", "0b"]
LUMA_AC = ["", "0102", "03", "000411", "051221", "3141", "06135161", "072271", "14328191a1", "082342b1c1", "1552d1f0"]
LUMA_AC += ["24336272", "", "", "82"]
CHROMA_AC = ["", "0001", "02", "0311", "04052131", "06124151", "076171", "13223281", "08144291a1b1c1", "09233352f0"]
CHROMA_AC += ["156272d1", "0a162434", "", "e1", "25f1"]


def table(short: list[str], symbols: bytes, longest: int) -> Table:
    """A table from symbols by length: what `short` does not name has the `longest` code, lesser symbols first."""
    by_length = [bytes.fromhex(text) for text in short] + [b""] * (longest - len(short))
    by_length[longest - 1] += bytes(sorted(set(symbols) - set(b"".join(by_length))))
    return bytes(map(len, by_length)) + bytes(CODE_BITS - longest) + b"".join(by_length)


SHARED = table(DC_SHORT, DC_SYMBOLS, LONGEST), table(AC_SHORT, AC_SYMBOLS, LONGEST)
LUMA = table(LUMA_DC, DC_SYMBOLS, 9), table(LUMA_AC, AC_SYMBOLS, CODE_BITS)
CHROMA = table(CHROMA_DC, DC_SYMBOLS, 11), table(CHROMA_AC, AC_SYMBOLS, CODE_BITS)


def codes_of(table: Table) -> np.ndarray:
    """What stands for each symbol (T.81, C.2): uint64 [256], the code times 256 and its length, bits; 0 for none."""
    codes = np.zeros(256, np.uint64)
    code = number = 0
    symbols = table[CODE_BITS:]
    for length, count in enumerate(table[:CODE_BITS], 1):
        for symbol in symbols[number : number + count]:
            codes[symbol] = code << 8 | length
            code += 1
        number, code = number + count, code << 1
    return codes
