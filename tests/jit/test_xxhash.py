"""XXH3 as libxxhash has it: for every length up to several blocks, at any address."""

import ctypes
import ctypes.util
import hashlib

import numpy as np
import pytest

from imagefeed.pipeline.jit.xxhash import xxh3_64

LONGEST = 3 * 1024 + 65  # three blocks, and a stripe that the last one overlaps
PATTERN = (np.arange(LONGEST + 8, dtype=np.uint64) ** 3 * 2654435761 >> 11).astype(np.uint8)
# Of the first bytes of PATTERN, as libxxhash 0.8.1 and the package xxhash 4.1.0 say; every kind of length.
KNOWN = {
    0: 0x2D06800538D394C2,
    1: 0xC44BDFF4074EECDB,
    2: 0xAA2778C7308049CA,
    3: 0x127C61A66613BE71,
    4: 0xCCFA0CBB5D126564,
    8: 0xFA595E5A9D9E3BB4,
    9: 0xA704089E779B0A92,
    16: 0x08DB7BDE0CA7082D,
    17: 0xE123909E45E59895,
    32: 0x63D1869CBC1FD77A,
    33: 0xB86F4796F905B49E,
    64: 0xF889BF7A58616348,
    65: 0x36C402F6958A5FC8,
    96: 0xD5C54D4E0711F4B3,
    97: 0x3D1F185ACD44CA55,
    128: 0xA8C1188E96E9262D,
    129: 0x58354978F612E62B,
    240: 0x4C1F8D679310C61F,
    241: 0x328F0C4464854D6F,
    320: 0x9B961ACF0642C34C,
    1024: 0x2E3620952BF58567,
    1025: 0xC583237C3215D933,
    2048: 0xBB8B552C642FDFB8,
    3000: 0x5CF9AD3DBC53B6F7,
    3137: 0x58E97BB5DC71DBFA,
}
EVERY_LENGTH = "9af294c6e99a7de9746b89d70d924cb2c5ed8456b49f2fdf86ec9da7ccf84fba"  # of both, see below


@pytest.mark.parametrize("size", KNOWN)
def test_known_answers(size: int) -> None:
    assert xxh3_64(PATTERN[:size]) == KNOWN[size]


def test_every_length_at_even_and_odd_addresses() -> None:
    """The SHA-256 of all digests, of every length at two places, is that of what the real libraries say."""
    digests = [xxh3_64(PATTERN[at : at + size]) for at in (0, 3) for size in range(LONGEST + 1)]
    assert hashlib.sha256(np.array(digests, "<u8").tobytes()).hexdigest() == EVERY_LENGTH


@pytest.mark.parametrize("size", [1, 7, 16, 100, 200, 241, 1100])
def test_each_bit_counts(size: int) -> None:
    seen = {xxh3_64(PATTERN[:size])}
    for bit in range(8 * size):
        altered = PATTERN[:size].copy()
        altered[bit // 8] ^= np.uint8(1 << bit % 8)
        seen.add(xxh3_64(altered))
    assert len(seen) == 1 + 8 * size


def test_large_payloads_as_libxxhash() -> None:
    found = ctypes.util.find_library("xxhash")
    if found is None:
        pytest.skip("libxxhash is not on this machine; the known answers above stand for it")
    library = ctypes.CDLL(found)
    library.XXH3_64bits.restype, library.XXH3_64bits.argtypes = ctypes.c_uint64, (ctypes.c_void_p, ctypes.c_size_t)
    data = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8)
    for size in (4096, 20_000, 65_536, 1_000_003, 2_999_999):
        assert xxh3_64(data[1 : 1 + size]) == library.XXH3_64bits(data[1:].ctypes.data, size)
