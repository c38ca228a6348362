"""No loader: each crop's bytes are read from where the image is stored and written to the batch, and nothing else.

As many bytes are written as the output has (a byte goes into as many as its type is wide), into batches that are
used again. What a loader of raw pixels cannot pass.
"""

import ctypes

import numpy as np
from numba import njit, types

from benchmarks.contenders import CROP, FP16, FP32, UINT8, Epoch, Work
from imagefeed.pipeline.bench.ceilings import located, together
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.jit.clib import bind
from imagefeed.pipeline.jit.intrinsics import add_atomically
from imagefeed.pipeline.loader.dataset import open_dataset

PACKAGE = "numba"
OUTPUTS = (FP32, FP16, UINT8)
STORED = ("raw",)
_memcpy = bind(ctypes.CDLL(None), "memcpy", types.intp, types.intp, types.intp, types.uint64)


def open(work: Work) -> Epoch:
    """The epoch of bare copying."""
    dataset = open_dataset(work.data / "raw" / "train")
    rows = np.random.default_rng(0).permutation(len(dataset))
    out = np.zeros((work.batch_size, CROP, np.dtype(work.dtype).itemsize * 3 * CROP), np.uint8)
    return lambda: copy_all(dataset, rows, out, work.threads)


def copy_all(dataset: Split, rows: np.ndarray, out: np.ndarray, num_threads: int) -> int:
    """Windows of raw pixels into `out`, a batch that is used again and again: uint8 [B, S, k * 3 * S].

    Each byte is written k times, as many as a number of the output has bytes. Returns the number of `rows` (int64 [n]).
    """
    addresses, _, maps = located(dataset, rows)
    widths = dataset.columns.width[rows].astype(np.int64)
    together(num_threads, lambda claims: copy_some(claims, addresses, widths, out))
    del maps  # held until here
    return len(rows)


@njit(nogil=True)
def copy_some(claims: np.ndarray, addresses: np.ndarray, widths: np.ndarray, out: np.ndarray) -> int:
    """Claims and copies the first window of each image (`widths` in pixels) until none is left."""
    batch_size, crop, written = out.shape
    row = 3 * crop
    i = add_atomically(claims, 1)
    while i < addresses.size:
        into = out[i % batch_size].ctypes.data
        for y in range(crop):
            for first in range(0, written, row):
                _memcpy(into + y * written + first, addresses[i] + 3 * widths[i] * y, row)
        i = add_atomically(claims, 1)
    return 0
