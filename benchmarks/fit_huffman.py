"""Finds the Huffman tables of `image/jpeg/huffman_codes.py`: the best ones for photographs whose codes fit a lookup.

    python -m benchmarks.fit_huffman --source DIR

Counts the symbols of all components together, and prints which of them get codes of which length, by the algorithm of
Larmore and Hirschberg (1990, package-merge): the fewest bits that a limit on the length of a code allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.jpeg.decoder import MCU_BYTES, DecodeScratch, new_scratch, read_header, unstuff
from imagefeed.pipeline.image.jpeg.huffman_codes import AC_SYMBOLS, DC_SYMBOLS, LONGEST
from imagefeed.pipeline.image.jpeg.huffman_tables import CODE_BITS
from imagefeed.pipeline.image.pillow import load_square
from imagefeed.pipeline.jit.intrinsics import big_endian
from imagefeed.pipeline.jit.njit import njit

NONE = -1  # the code of ones alone, which no symbol may have (ITU-T T.81, C.2)
SCARCE = 1e-3  # of a time, a symbol that was not met is taken to occur


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What to fit them to."""

    source: Path
    """A folder with photographs, which are brought to 256x256."""
    quality: int = 90


@njit
def symbol_at(space: DecodeScratch, table: int, ahead: Any) -> tuple[int, int]:
    """The symbol that 16 bits begin with in a table, and the length of its code, bits (T.81, F.2.2.3, DECODE)."""
    tables, ahead = space.huffman, np.int64(ahead)
    for length in range(1, CODE_BITS + 1):
        if ahead < tables.limits[table, length]:
            number = tables.firsts[table, length] + (ahead >> (CODE_BITS - length))
            return int(tables.symbols[table, number]), length
    raise ValueError("no code begins so")


@njit
def count(space: DecodeScratch, data: np.ndarray, times: np.ndarray) -> None:
    """Adds how often each symbol comes in a 4:2:0 JPEG of 256x256 to `times` (int64 [2, 256]: DC, AC)."""
    header = read_header(space, data)
    clean = np.empty(data.size + MCU_BYTES, np.uint8)
    unstuff(data, header.scan, clean)
    at: Any = 0
    for block in range(256 * 6):
        k: Any = 0
        while k < 64:
            table = 0 if k == 0 else 1
            ahead = big_endian(clean, np.uint64(at >> 3)) << np.uint64(at & 7)
            slot = space.blocks[block % 6, 1 + table]
            symbol, length = symbol_at(space, slot, ahead >> np.uint64(64 - CODE_BITS))
            times[table, symbol] += 1
            at += length + (symbol & 15)
            k = 1 if k == 0 else 64 if symbol == 0 else k + (symbol >> 4) + 1


def lengths(times: np.ndarray, symbols: Sequence[int], longest: int) -> dict[int, int]:
    """The length of each symbol's code, at most `longest` bits; `times` is how often each comes."""
    singles = sorted([(max(float(times[symbol]), SCARCE), (symbol,)) for symbol in symbols] + [(0.0, (NONE,))])
    packages: list[tuple[float, tuple[int, ...]]] = []
    for _ in range(longest):
        merged = sorted(singles + packages)
        pairs = zip(merged[::2], merged[1::2], strict=False)
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
    chosen = [symbol for _, group in merged[: 2 * len(singles) - 2] for symbol in group]
    return {symbol: chosen.count(symbol) for symbol in symbols}


def main(config: FitConfig) -> None:
    """Prints both tables."""
    codec, space, times = JpegCodec(), new_scratch(0), np.zeros((2, 256), np.int64)
    for path in sorted(path for path in config.source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")):
        count(space, codec.encode(load_square(path.read_bytes()), Coding(config.quality, huffman="standard")), times)
    for name, table, symbols in (("DC", times[0], DC_SYMBOLS), ("AC", times[1], AC_SYMBOLS)):
        found = lengths(table, symbols, LONGEST)
        print(f"{name}: {sum(table)} codes of {sum(table[s] * n for s, n in found.items()) / sum(table):.3f} bits")
        for bits in range(1, LONGEST):
            print(f"{bits:3} {bytes(sorted(s for s, n in found.items() if n == bits)).hex()}")


if __name__ == "__main__":
    main(tyro.cli(FitConfig, description=__doc__))
