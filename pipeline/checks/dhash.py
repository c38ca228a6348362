"""Which images look alike: a hash of 128 bits of each, and a lookup that finds all pairs of few different bits.

The hash is a difference hash (dHash) both ways: the image becomes 9x9 grey pixels, and each bit says whether a pixel is
darker than its right, or its lower, neighbour. It survives scaling, recompression and slight changes of colour; not
mirroring, crops or rotation.

Two hashes that differ in at most 7 of 128 bits agree in one at least of their 8 bands of 16 bits. So it is enough to
compare, band by band, those that agree there: for a million images some hundred million comparisons and not half a
million million. Refused: the package imagehash, which hashes one Pillow image at a time and has no lookup.
"""

import numpy as np

from imagefeed.pipeline.image.resample import resample
from imagefeed.pipeline.jit.njit import njit

GRID = 9  # pixels
BANDS = 8  # of 16 bits
MOST_DIFFERENT = BANDS - 1  # bits; beyond it the lookup would miss pairs
FLAT = 12  # grey levels; an image that spans fewer has a hash of noise


@njit
def difference_hash(image: np.ndarray, hashed: np.ndarray) -> int:
    """Writes the hash of `image` (uint8 [H, W, 3]) to `hashed` (uint64 [2]: rightward, downward).

    Returns how many grey levels its 9x9 pixels span.
    """
    small, grey = np.empty((GRID, GRID, 3), np.uint8), np.empty((GRID, GRID), np.int32)
    resample(image, np.array([0.0, 0.0, image.shape[0], image.shape[1]]), False, small)
    for y in range(GRID):
        for x in range(GRID):
            grey[y, x] = 299 * small[y, x, 0] + 587 * small[y, x, 1] + 114 * small[y, x, 2]
    right, down = np.uint64(0), np.uint64(0)
    for y in range(GRID - 1):
        for x in range(GRID - 1):
            right = right << np.uint64(1) | np.uint64(grey[y, x] < grey[y, x + 1])
            down = down << np.uint64(1) | np.uint64(grey[y, x] < grey[y + 1, x])
    hashed[0], hashed[1] = right, down
    return (grey.max() - grey.min()) // 1000


@njit
def bits_apart(a: np.ndarray, b: np.ndarray) -> int:
    """In how many bits two hashes (uint64 [2]) differ."""
    count = 0
    for word in range(2):
        left = a[word] ^ b[word]
        while left:
            left &= left - np.uint64(1)
            count += 1
    return count


@njit
def root_of(parents: np.ndarray, member: int) -> int:
    """The first member of the group that `member` is in; the way there is made shorter."""
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member


@njit
def group_near(hashes: np.ndarray, most_different: int) -> np.ndarray:
    """Groups hashes (uint64 [n, 2]) that differ in at most `most_different` bits, 7 at most, also by way of others.

    Returns the first member of the group of each, int64 [n].
    """
    n = len(hashes)
    parents = np.arange(n)
    for band in range(BANDS):
        word, shift = band // 4, np.uint64(16 * (band % 4))
        keys = (hashes[:, word] >> shift) & np.uint64(0xFFFF)
        order = np.argsort(keys, kind="mergesort")
        start = 0
        while start < n:
            stop = start + 1
            while stop < n and keys[order[stop]] == keys[order[start]]:
                stop += 1
            for i in range(start, stop):
                for j in range(i + 1, stop):
                    if bits_apart(hashes[order[i]], hashes[order[j]]) <= most_different:
                        a, b = root_of(parents, order[i]), root_of(parents, order[j])
                        parents[max(a, b)] = min(a, b)
            start = stop
    for member in range(n):
        parents[member] = root_of(parents, member)
    return parents
