"""What each kernel of vectors makes of numbers that are drawn here: a digest for each, to compare processors.

`python -m tests.support.vector_kernels` prints them as JSON, for the processor that Numba compiles for.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from imagefeed.pipeline.dataset.statistics import sum_blocks
from imagefeed.pipeline.image.jpeg.fdct import forward_dct_pair, reciprocals, split_full, split_halved
from imagefeed.pipeline.image.jpeg.idct import colour_full, colour_halved, inverse_dct_pair
from imagefeed.pipeline.image.resample_simd import PIXELS, TAPS, parts, weigh_pixels, weigh_rows
from imagefeed.pipeline.jit.intrinsics import copy_block_until_ff, flip_block
from imagefeed.pipeline.jit.xxhash import xxh3_64

STRIDE = 512  # bytes from a row to the next
ROUNDS = 40


@njit
def inverse(a, q, out):
    return inverse_dct_pair(a, q, out, out + 8, STRIDE)


@njit
def forward(a, q, out):
    forward_dct_pair(a, a + 8, STRIDE, q, out, out + 256)


@njit
def colour_420(a, q, out):
    colour_halved(a, a + 600, a + 1100, a + 1600, a + 2100, out)


@njit
def colour_444(a, q, out):
    colour_full(a, a + 600, a + 1100, out)


@njit
def split_420(a, q, out):
    split_halved(a, a + 600, out, out + 100, out + 200, out + 300)


@njit
def split_444(a, q, out):
    split_full(a, out, out + 100, out + 200)


@njit
def rows(a, q, out):
    weigh_rows(a, STRIDE, q, 5, out)


@njit
def pixels(a, q, out):
    weigh_pixels(a, q, q + 64, 2, out)


@njit
def flip(a, q, out):
    flip_block(a, out)


@njit
def until_ff(a, q, out):
    return copy_block_until_ff(a, out)


@njit
def sums(a, q, out):
    sum_blocks(a, 7, out)


def quantisers(rng: np.random.Generator) -> np.ndarray:
    """Of a pair of blocks, and their reciprocals."""
    drawn = rng.integers(1, 256, (8, 2, 8)).astype(np.int16)
    return np.concatenate([drawn[None], reciprocals(drawn)]).ravel()


def of_rows(rng: np.random.Generator) -> np.ndarray:
    """Weights of five rows, in pairs."""
    weights = np.zeros((3, 2, 2), np.int16)
    for tap, weight in enumerate(rng.multinomial(1 << 22, [0.1, 0.2, 0.4, 0.2, 0.1])):
        weights[tap // 2, :, tap % 2] = parts(int(weight))
    return weights.ravel()


def of_pixels(rng: np.random.Generator) -> np.ndarray:
    """Where eight pixels begin, and their weights of eight taps."""
    starts = (3 * rng.integers(0, 20, PIXELS)).astype(np.int32)
    weights = np.zeros((2, PIXELS // 2, TAPS // 2, 2, 2, 4, 2), np.int16)
    for lane in range(PIXELS):
        for tap, weight in enumerate(rng.multinomial(1 << 22, [0.125] * 8)):
            for part, value in enumerate(parts(int(weight))):
                weights[tap // TAPS, lane % 4, tap % TAPS // 2, part, lane // 4, :, tap % 2] = value
    return np.concatenate([starts.view(np.int16), np.zeros(16, np.int16), weights.ravel()])


def coefficients(rng: np.random.Generator) -> np.ndarray:
    """Of two blocks, small ones mostly."""
    return (rng.normal(0, 1, (8, 2, 8)) * rng.choice([2, 20, 200])).astype(np.int16)


def any_bytes(rng: np.random.Generator) -> np.ndarray:
    """Of the whole range."""
    return rng.integers(0, 256, 8192).astype(np.uint8)


def small_quantisers(rng: np.random.Generator) -> np.ndarray:
    """Of a pair of blocks."""
    return rng.integers(1, 30, 128).astype(np.int16)


Draw = Callable[[np.random.Generator], np.ndarray]
KERNELS: dict[str, tuple[Any, Draw, Draw]] = {
    "inverse DCT": (inverse, coefficients, small_quantisers),
    "forward DCT": (forward, any_bytes, quantisers),
    "colour 4:2:0": (colour_420, any_bytes, any_bytes),
    "colour 4:4:4": (colour_444, any_bytes, any_bytes),
    "samples 4:2:0": (split_420, any_bytes, any_bytes),
    "samples 4:4:4": (split_444, any_bytes, any_bytes),
    "resampled rows": (rows, any_bytes, of_rows),
    "resampled pixels": (pixels, any_bytes, of_pixels),
    "mirrored pixels": (flip, any_bytes, any_bytes),
    "search of 0xFF": (until_ff, any_bytes, any_bytes),
    "moments": (sums, any_bytes, any_bytes),
}


def digests() -> dict[str, int]:
    """Of each kernel's results in `ROUNDS` rounds, and how much XXH3 of the same bytes adds up to."""
    found = {}
    for name, (kernel, values, others) in KERNELS.items():
        rng = np.random.default_rng(list(name.encode()))
        total = 0
        for _ in range(ROUNDS):
            out = np.zeros(8 * STRIDE, np.uint8)
            a, q = values(rng), others(rng)
            state = kernel(a.ctypes.data, q.ctypes.data, out.ctypes.data)
            total = total * 31 + int(xxh3_64(out)) + int(state or 0) & (1 << 64) - 1
        found[name] = total
    return found


if __name__ == "__main__":
    print(json.dumps(digests()))
