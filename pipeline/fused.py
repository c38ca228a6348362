"""The fused kernel: from a sample's stored bytes to its place in the output batch while it is in the core's cache.

Threads call `fill` on the same batch at once. Each claims one sample after the other, so the work is even whatever a
sample costs, and the interpreter is entered once a batch and thread, not once a sample.
"""

from typing import NamedTuple

import numpy as np

from pipeline.augment import write_view
from pipeline.compiled import njit
from pipeline.intrinsics import add_atomically
from pipeline.mapping import bytes_at, readable
from pipeline.native import CORRUPT, OK, WRONG_SIZE, decode_rgb, xxh3_64

UNREADABLE, ALTERED = 11, 12  # beside the decoder's own states

WHY = {
    CORRUPT: "its bytes are no JPEG that decodes without a guess; convert the source again",
    WRONG_SIZE: "its JPEG has another size than samples.parquet says; convert the source again",
    UNREADABLE: "its bytes cannot be read: the file was cut short after it was opened, or the disk fails; "
    "restore the shard",
    ALTERED: "its bytes are not those that were written (XXH3 differs); restore the shard or convert the source again",
}


class Job(NamedTuple):
    """All that `fill` needs to know of one batch; V views a sample, n samples."""

    claims: np.ndarray  # int64 [1], how many samples are claimed; set to n it ends the batch
    addresses: np.ndarray  # int64 [n], of each payload in memory
    sizes: np.ndarray  # int64 [n], bytes; 0 for padding
    hashes: np.ndarray  # uint64 [n], XXH3 of the payload
    views: np.ndarray  # int32 [n, V, 3]
    colours: np.ndarray  # float32 [n, 3]
    means: np.ndarray  # float32, see `augment.both_means`
    out: np.ndarray  # [n, V, S, 3 * S] or [n, V, 3, S, S], see `augment.write_view`
    states: np.ndarray  # int32 [n], OK or what is wrong with the sample


class Bench(NamedTuple):
    """What one thread works with."""

    decoder: int  # of `native.tj_open`
    image: np.ndarray  # uint8 [H, W, 3], of the size of every stored image
    spare: np.ndarray  # uint8 [3 * S]
    tint: np.ndarray  # float32 [3 * S]


@njit
def fill(job: Job, bench: Bench, raw: bool, verify: bool, page: int) -> None:
    """Claims and writes samples until none is left to claim.

    raw     the payloads are pixels of the size of `bench.image`, not JPEGs
    verify  compare each payload with its hash first
    page    for `mapping.readable`

    A sample that fails leaves its reason in `job.states` and stops the batch.
    """
    num_samples = job.sizes.size
    i = add_atomically(job.claims, 1)
    while i < num_samples:
        job.states[i] = write_sample(job, i, bench, raw, verify, page)
        if job.states[i] != OK:
            job.claims[0] = num_samples
        i = add_atomically(job.claims, 1)


@njit
def write_sample(job: Job, i: int, bench: Bench, raw: bool, verify: bool, page: int) -> int:
    """One sample, or zeros for padding; returns its state."""
    out = job.out[i]
    if job.sizes[i] == 0:
        out[:] = 0
        return OK
    if not readable(job.addresses[i], job.sizes[i], page):
        return UNREADABLE
    data = bytes_at(job.addresses[i], job.sizes[i])
    if verify and xxh3_64(data) != job.hashes[i]:
        return ALTERED
    image = bench.image
    if raw:
        image = data.reshape(image.shape)
    else:
        state = decode_rgb(bench.decoder, data, image)
        if state != OK:
            return state
    for x in range(bench.tint.size):
        bench.tint[x] = job.colours[i, x % 3]
    for view in range(len(out)):
        write_view(image, job.views[i, view], bench.tint, job.means, bench.spare, out[view])
    return OK
