"""The parts of loading, each alone: what no loader that does them can pass on this machine.

    hash_all      XXH3 of the payloads
    decode_all    JPEGs in full, by libjpeg-turbo
    decode_crops  JPEGs as a loader decodes them: by its decoder, and of each image what its crops need
    write_crops   crops of decoded images, written to batches as a loader writes them

Each function takes all of its rows (int64 [n]) in their order, shared by `num_threads` threads, and returns n. Raises
`ValueError` with the sample where one cannot be read.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.files.mapped_file import page_to_ask, readable
from imagefeed.pipeline.image.decoder import Decoder, decode, decode_part, examine, new_decoder, planes_of
from imagefeed.pipeline.image.jpeg.planes import Planes, pixel_row
from imagefeed.pipeline.image.stored import MOST_PIXELS, RAW
from imagefeed.pipeline.image.turbojpeg import NOT_RGB, OK
from imagefeed.pipeline.jit.intrinsics import add_atomically
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import address_of, bytes_at
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.kernel.fused import BatchJob, Normalization, Scratch, as_stored, choose, fill
from imagefeed.pipeline.kernel.recipes import TOO_SMALL
from imagefeed.pipeline.loader.batches import BatchPlanner

SCRATCH = 256 * 256 * 3  # bytes to begin with: an image of the paper's size


def decode_all(dataset: SampleStore, rows: np.ndarray, num_threads: int) -> int:
    """JPEGs in full by libjpeg-turbo, each into the same scratch image of its thread."""
    addresses, sizes, maps = located(dataset, rows)

    def work(claims: np.ndarray) -> int:
        decoder = new_decoder("turbojpeg", 0)
        return int(decode_whole(decoder, claims, addresses, sizes, np.empty(SCRATCH, np.uint8)))

    together(num_threads, work)
    del maps  # held until here
    return len(rows)


def hash_all(dataset: SampleStore, rows: np.ndarray, num_threads: int) -> int:
    """XXH3 of the payloads, which is also the fastest way to have read them."""
    addresses, sizes, maps = located(dataset, rows)
    together(num_threads, lambda claims: hash_some(claims, addresses, sizes))
    del maps
    return len(rows)


def decode_crops(planner: BatchPlanner, rows: np.ndarray, num_threads: int) -> int:
    """JPEGs as a loader with this planner decodes them, its crops of epoch 0 as RGB; nothing is written."""
    dataset, normalization = planner.dataset, planner.normalization(0)
    addresses, sizes, maps = located(dataset, rows)
    # As in the loader: what no hash has proved is decoded to its end.
    whole = not planner.options.verify or not dataset.columns.xxh3[rows].all()

    def work(job: BatchJob, scratch: Scratch) -> int:
        return int(decode_some(job, scratch, normalization, whole))

    through(planner, dataset.columns.id[rows], {"addresses": addresses, "sizes": sizes}, num_threads, work)
    del maps
    return len(rows)


def write_crops(planner: BatchPlanner, images: list[np.ndarray], rows: np.ndarray, num_threads: int) -> int:
    """Crops of `images` (each uint8 [H, W, 3]), written as a loader with this planner does; `rows` index `images`."""
    held = [np.ascontiguousarray(image) for image in images]
    heights, widths = (np.array([image.shape[axis] for image in held], np.int32)[rows] for axis in (0, 1))
    fields: dict[str, Any] = {
        "addresses": np.array([image.ctypes.data for image in held], np.int64)[rows],
        "sizes": 3 * heights.astype(np.int64) * widths,
        "kinds": np.full(len(rows), RAW, np.uint8),
        "heights": heights,
        "widths": widths,
    }
    normalization = planner.normalization(0)

    def work(job: BatchJob, scratch: Scratch) -> int:
        fill(job, scratch, normalization, planner.way._replace(verify=False))
        return int(job.states.any())

    through(planner, rows, fields, num_threads, work)
    del held
    return len(rows)


def through(
    planner: BatchPlanner,
    ids: np.ndarray,
    fields: dict[str, Any],
    num_threads: int,
    work: Callable[[BatchJob, Scratch], int],
) -> None:
    """Runs `work(job, scratch)`, which returns how many samples failed, in all threads on each batch of samples.

    Jobs have the samples' `ids` (int64 [n]) and `fields` (each [n]); they write to two memories by turns.
    """
    size = planner.options.batch_size
    memories = [planner.buffers.take() for _ in range(2)]  # of tensors, which must be held while their arrays are used
    jobs = []
    for number, start in enumerate(range(0, len(ids), size)):
        part = slice(start, min(start + size, len(ids)))
        job = planner.job(0, 0, ids[part], start, memories[number % 2][1][: part.stop - start])
        jobs.append(job._replace(**{name: values[part] for name, values in fields.items()}))

    def serve(_: np.ndarray) -> int:
        with planner.scratch() as scratch:
            return sum(work(job, scratch) for job in jobs)

    together(num_threads, serve)


def located(dataset: SampleStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, object]:
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
def decode_whole(
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
def decode_some(job: BatchJob, scratch: Scratch, normalization: Normalization, whole: bool) -> int:
    """Claims JPEGs and decodes of each what its windows need, until none is left; returns how many failed."""
    bad, size = 0, normalization.rules.size
    i = add_atomically(job.claims, 1)
    while i < job.sizes.size:
        data = bytes_at(job.addresses[i], job.sizes[i])
        found = examine(scratch.decoder, data)
        height, width, state = found.height, found.width, found.state
        windows = job.windows[i]
        if state == OK:
            state = choose(job, i, height, width, normalization)
        if state == OK and height * width <= MOST_PIXELS:
            if as_stored(windows, size) and decode_part(scratch.decoder, found, data, windows, whole):
                colour_windows(planes_of(scratch.decoder, found), windows, size)
            else:
                decoded = scratch.decoded
                if decoded.size < 3 * height * width:
                    decoded = np.empty(3 * height * width, np.uint8)
                state = decode(scratch.decoder, found, data, decoded[: 3 * height * width].reshape(height, width, 3))
        bad += state != OK and state != NOT_RGB and state != TOO_SMALL  # the last two are not for the decoder to say
        i = add_atomically(job.claims, 1)
    return bad


@njit
def colour_windows(planes: Planes, windows: np.ndarray, size: int) -> None:
    """Each row of each window (float64 [V, 5], of the crop's `size`) becomes RGB, as for `kernel.write.view_row`."""
    for window in windows:
        for y in range(size):
            pixel_row(planes, int(window[0]) + y, int(window[1]), size, address_of(planes.row))


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
