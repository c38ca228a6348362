"""Many small ranges of one file at once: the sizes and labels that stand beside large payloads."""

from itertools import pairwise

import numpy as np

from imagefeed.pipeline.files.ranged import Readable, pread

NEAR = 1 << 12  # bytes between two ranges that are read through sooner than to read once more
BLOCK = 1 << 22  # bytes that are read at once


def gather(file: Readable, offsets: np.ndarray, width: int) -> np.ndarray:
    """The `width` bytes (uint8 [n, width]) from each of the offsets (int64 [n], 0 or more, in rising order).

    Zeros stand for what lies beyond the end of the file. Raises `OSError` with the file's path.
    """
    found = np.zeros((len(offsets), width), np.uint8)
    if not len(offsets):
        return found
    far = (np.diff(offsets) > NEAR + width) | (np.diff(offsets // BLOCK) > 0)
    cuts = np.concatenate([[0], np.flatnonzero(far) + 1, [len(offsets)]])
    single = np.diff(cuts) == 1
    alone = cuts[:-1][single]
    parts = [pread(file, width, offset).ljust(width, b"\0") for offset in offsets[alone].tolist()]
    found[alone] = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, width)
    for start, stop in np.array([*pairwise(cuts)])[~single].tolist():
        first = int(offsets[start])
        size = int(offsets[stop - 1]) - first + width
        data = np.frombuffer(pread(file, size, first).ljust(size, b"\0"), np.uint8)
        found[start:stop] = np.lib.stride_tricks.sliding_window_view(data, width)[offsets[start:stop] - first]
    return found


def gather_numbers(file: Readable, offsets: np.ndarray, kind: str, count: int = 1) -> np.ndarray:
    """`count` numbers of a NumPy type (`<u4`) from each of the offsets: [n, count]. See `gather`."""
    return gather(file, offsets, np.dtype(kind).itemsize * count).view(kind)
