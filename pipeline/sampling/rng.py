"""Random numbers as a function: the same (seed, epoch, sample id, draw) gives the same number, whoever asks, and when.

Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): a counter goes in, random
bits come out, nothing is kept between calls. The key is the seed (64 bits); the counter is the sample's id (64 bits),
the epoch (32), how often the sample came before in it (24) and which draw it is (8). So no two draws of a run share a
counter, and a neighbouring seed is a different generator rather than the same one shifted by an epoch.
"""

import math

import numpy as np

from imagefeed.pipeline.jit.njit import njit

# Which draw: the last word of the counter. A new use of randomness takes a new number and disturbs no other.
# Those from OWN on are free for the transforms of users.
ORDER, WINDOW, COLOUR, MIRROR, RESIZED, OWN = 0, 1, 2, 3, 16, 128
CHOICE = 10  # which samples of a class an epoch has, where it has as many of each
SHARDS = 8  # the order of shards: the id is then a shard's number
MIX = 9  # the order in which epochs take the samples of a part of a mix, the same in all of them: the epoch is 0

Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]

LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))  # the constants are those of the paper's Philox4x32
WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))


@njit
def philox(key: tuple[np.uint64, np.uint64], counter: Words) -> Words:
    """Four random words from a key of two and a counter of four, each below 2**32."""
    key0, key1 = key
    c0, c1, c2, c3 = counter
    for _ in range(ROUNDS):
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1 = (product1 >> SHIFT) ^ c1 ^ key0, product1 & LOW
        c2, c3 = (product0 >> SHIFT) ^ c3 ^ key1, product0 & LOW
        key0, key1 = (key0 + WEYL[0]) & LOW, (key1 + WEYL[1]) & LOW
    return c0, c1, c2, c3


@njit
def draw(seed: np.uint64, epoch: int, sample_id: int, which: int, turn: int = 0) -> Words:
    """The four words of one draw, each uniform in [0, 2**32).

    which  0 to 255, what the numbers are for
    turn   how often the sample came before in this epoch, where it comes more than once
    """
    key, identity = np.uint64(seed), np.uint64(sample_id)
    counter = (identity & LOW, identity >> SHIFT, np.uint64(epoch) & LOW, np.uint64(which + (turn << 8)))
    return philox((key & LOW, key >> SHIFT), counter)


@njit
def below(word: np.uint64, bound: int) -> int:
    """An integer in [0, bound) from one word, by multiply-high: each value's chance is within 2**-32 of 1 / bound."""
    return int((word * np.uint64(bound)) >> SHIFT)


@njit
def unit(word: np.uint64) -> float:
    """A number in [0, 1) from one word."""
    return word * 2.0**-32


@njit
def normals(words: Words) -> tuple[float, float, float]:
    """Three independent standard normal numbers (float64, at most 6.7 from 0) from the words of one draw.

    Box and Muller's transform of two pairs; the fourth number is not used. Words become numbers in (0, 1].
    """
    unit = 2.0**-32
    near, far = math.sqrt(-2.0 * math.log((words[0] + 1.0) * unit)), math.sqrt(-2.0 * math.log((words[2] + 1.0) * unit))
    angle0, angle1 = 2.0 * math.pi * words[1] * unit, 2.0 * math.pi * words[3] * unit
    return near * math.cos(angle0), near * math.sin(angle0), far * math.cos(angle1)


@njit
def order_keys(
    seed: np.uint64, epoch: int, sample_ids: np.ndarray, turns: np.ndarray, which: int = ORDER
) -> np.ndarray:
    """A random uint64 for each use of an id (int64 [n] both): sorting by them shuffles an epoch."""
    keys = np.empty(sample_ids.size, np.uint64)
    for i in range(sample_ids.size):
        words = draw(seed, epoch, sample_ids[i], which, turns[i])
        keys[i] = (words[0] << SHIFT) | words[1]
    return keys
