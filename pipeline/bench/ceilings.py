"""What no loader can pass on this machine: every payload decoded, hashed or copied, and nothing else done with it.

Each function takes all of `rows` (int64 [n]) of a dataset, in their order, shared by `num_threads` threads, and returns
n. Raises `ValueError` with the sample where one cannot be read.
"""

import ctypes
import threading
from collections.abc import Callable

import numpy as np
from numba import types

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.mapped_file import page_to_ask, readable
from imagefeed.pipeline.image.decoder import Decoder, decode, examine, new_decoder
from imagefeed.pipeline.image.stored import MOST_PIXELS
from imagefeed.pipeline.image.turbojpeg import NOT_RGB, OK
from imagefeed.pipeline.jit.clib import bind
from imagefeed.pipeline.jit.intrinsics import add_atomically
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.jit.xxhash import xxh3_64

SCRATCH = 256 * 256 * 3  # bytes to begin with: an image of the paper's size
_memcpy = bind(ctypes.CDLL(None), "memcpy", types.intp, types.intp, types.intp, types.uint64)


def decode_all(dataset: Split, rows: np.ndarray, num_threads: int) -> int:
    """JPEGs in full by libjpeg-turbo, each into the same scratch image of its thread."""
    addresses, sizes, maps = located(dataset, rows)

    def work(claims: np.ndarray) -> int:
        decoder = new_decoder("turbojpeg", 0)
        return int(decode_some(decoder, claims, addresses, sizes, np.empty(SCRATCH, np.uint8)))

    together(num_threads, work)
    del maps  # held until here
    return len(rows)


def hash_all(dataset: Split, rows: np.ndarray, num_threads: int) -> int:
    """XXH3 of the payloads, which is also the fastest way to have read them."""
    addresses, sizes, maps = located(dataset, rows)
    together(num_threads, lambda claims: hash_some(claims, addresses, sizes))
    del maps
    return len(rows)


def copy_all(dataset: Split, rows: np.ndarray, out: np.ndarray, num_threads: int) -> int:
    """Windows of raw pixels into `out`, a batch that is used again and again: uint8 [B, S, k * 3 * S].

    Each byte is written k times, as many as a number of the output has bytes.
    """
    addresses, _, maps = located(dataset, rows)
    widths = dataset.columns.width[rows].astype(np.int64)
    together(num_threads, lambda claims: copy_some(claims, addresses, widths, out))
    del maps
    return len(rows)


def located(dataset: Split, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, object]:
    """Addresses and sizes of the payloads (int64 [n]), and what must be held while they are used."""
    addresses, maps = dataset.payload_addresses(rows)
    sizes, page = dataset.columns.size[rows], page_to_ask()
    bad = first_unreadable(addresses, sizes, page)
    if bad >= 0:
        raise ValueError(f"{dataset.name(int(rows[bad]))}: its bytes cannot be read: restore the shard")
    return addresses, sizes, maps


def together(num_threads: int, work: Callable[[np.ndarray], int]) -> None:
    """Runs `work(claims)` in `num_threads` threads; they share `claims` (int64 [1]) and return how many failed."""
    claims, failures = np.zeros(1, np.int64), []
    crew = [threading.Thread(target=lambda: failures.append(work(claims))) for _ in range(num_threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    if len(failures) < num_threads or any(failures):
        raise ValueError(f"{sum(failures)} payloads could not be decoded: an epoch of the loader names them")


@njit
def first_unreadable(addresses: np.ndarray, sizes: np.ndarray, page: int) -> int:
    """The index of the first payload that cannot be read; -1 where there is none."""
    for i in range(sizes.size):
        if not readable(addresses[i], sizes[i], page):
            return i
    return -1


@njit
def decode_some(
    decoder: Decoder, claims: np.ndarray, addresses: np.ndarray, sizes: np.ndarray, scratch: np.ndarray
) -> int:
    """Claims and decodes payloads into `scratch` (uint8 [bytes]) until none is left; returns how many failed."""
    bad = 0
    i = add_atomically(claims, 1)
    while i < sizes.size:
        data = bytes_at(addresses[i], sizes[i])
        found = examine(decoder, data)
        height, width, state = found.height, found.width, found.state
        if state == OK and height * width <= MOST_PIXELS:
            if scratch.size < 3 * height * width:
                scratch = np.empty(3 * height * width, np.uint8)
            state = decode(decoder, found, data, scratch[: 3 * height * width].reshape(height, width, 3))
            bad += state != OK
        else:
            bad += state != NOT_RGB  # which others decode
        i = add_atomically(claims, 1)
    return bad


@njit
def hash_some(claims: np.ndarray, addresses: np.ndarray, sizes: np.ndarray) -> int:
    """Claims and hashes payloads until none is left."""
    mixed = np.uint64(0)
    i = add_atomically(claims, 1)
    while i < sizes.size:
        mixed ^= np.uint64(xxh3_64(bytes_at(addresses[i], sizes[i])))
        i = add_atomically(claims, 1)
    claims[1:] = mixed  # of length 0: but the compiler does not know that the hashes are not needed
    return 0


@njit
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
