"""The fused kernel: from a sample's stored bytes to its place in the output batch while it is in the core's cache.

Threads call `fill` on the same batch at once. Each claims one sample after the other, so the work is shared evenly
whatever a sample costs, and the interpreter runs once for each thread and batch, not once for each sample.
"""

from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.files.mapped_file import readable
from imagefeed.pipeline.image.decoder import Decoder, decode, decode_part, examine, planes_of
from imagefeed.pipeline.image.resample import resample
from imagefeed.pipeline.image.stored import MOST_PIXELS, OTHER, RAW
from imagefeed.pipeline.image.turbojpeg import CORRUPT, NOT_RGB, OK, WRONG_SIZE
from imagefeed.pipeline.jit.intrinsics import add_atomically, call_at
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.views import address_of, bytes_at
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.kernel.recipes import TOO_SMALL, Rules, colour, decide
from imagefeed.pipeline.kernel.transform import NO_TRANSFORM
from imagefeed.pipeline.kernel.write import RowBuffers, Source, View, image_source, write_view

UNREADABLE, ALTERED, TOO_LARGE, NOT_THE_MEANS, RAISED = (
    11,
    12,
    13,
    14,
    15,
)  # beside the states of the decoder and of `decide`

WHY = {
    CORRUPT: "its bytes are no JPEG that decodes without a guess; convert the source again",
    WRONG_SIZE: "its image has another size than samples.parquet says; convert the source again",
    TOO_SMALL: "its image is smaller than the crop: give `resize`, the length to which shorter sides are scaled",
    UNREADABLE: "its bytes cannot be read: the file was cut short after it was opened, or the disk fails; "
    "restore the shard",
    ALTERED: "its bytes are not those that were written (XXH3 differs); restore the shard or convert the source again",
    NOT_THE_MEANS: "its image has another size than the mean image: resize it, or choose mean='channel'",
    RAISED: "the transform raised an error",
    TOO_LARGE: f"its image has more than {MOST_PIXELS:,} pixels; leave it out and convert the source again",
}


class BatchJob(NamedTuple):
    """All that `fill` needs to know of one batch of n samples with V views each."""

    seed: np.uint64
    epoch: int
    claims: np.ndarray  # int64 [1], how many samples are claimed; set to n it ends the batch
    addresses: np.ndarray  # int64 [n], of each payload in memory
    sizes: np.ndarray  # int64 [n], bytes; 0 for padding
    kinds: np.ndarray  # uint8 [n], see `image.stored`
    heights: np.ndarray  # int32 [n], pixels; 0 where unknown
    widths: np.ndarray  # int32 [n]
    hashes: np.ndarray  # uint64 [n], XXH3 of the payload; 0 where unknown
    ids: np.ndarray  # int64 [n]
    turns: np.ndarray  # int64 [n], how often the sample came before in this epoch
    draw_key: np.ndarray  # int64 [n], what its window is drawn for: the sample's id, or the number of its chunk
    windows: np.ndarray  # float64 [n, V, 5], written here: see `recipes`
    colours: np.ndarray  # float32 [n, 3], written here: what was added to R, G and B
    out: np.ndarray  # uint8 [n, bytes of V views], see `write.write_view`
    states: np.ndarray  # int32 [n], OK or what is wrong with the sample


class Normalization(NamedTuple):
    """What values become, the same for all batches."""

    rules: Rules
    means: np.ndarray  # float32, see `write.both_means`
    height: int  # of the mean image, pixels
    width: int
    follows: bool  # the mean is that of the whole stored image and is cropped with it; otherwise it is that of a crop
    scale: np.ndarray  # float32 [3 * S]
    kind: int  # of the values, see `write.write_view`
    planes_first: bool


class Scratch(NamedTuple):
    """Memory of one thread, which each of its samples uses again."""

    decoder: Decoder
    decoded: np.ndarray  # uint8 [bytes], for a decoded image of the usual size
    crop: np.ndarray  # uint8 [S, S, 3], for a window that is resampled or that a user's transform changes
    row_buffers: RowBuffers


class Way(NamedTuple):
    """How all batches are filled."""

    transform: int  # the address of a user's transform, see `kernel.transform`
    verify: bool  # compare each payload with its hash first, where that is known
    page: int  # for `mapped_file.readable`
    skip: bool  # write zeros for a sample that fails and continue


@njit
def fill(job: BatchJob, scratch: Scratch, normalization: Normalization, way: Way) -> int:
    """Claims and writes samples until none is left to claim; returns -1 then.

    A sample that fails leaves its reason in `job.states` and stops the batch, unless it is to be skipped. One whose
    bytes libjpeg-turbo cannot turn into RGB, or whose transform raised something, is returned by its number: the caller
    decodes it and calls `write_image`, or finds out what was raised, and comes back.
    """
    num_samples = job.sizes.size
    i = add_atomically(job.claims, 1)
    while i < num_samples:
        state = write_sample(job, i, scratch, normalization, way)
        if state == NOT_RGB:
            return i
        job.states[i] = state
        if state != OK:
            settle(job, i, way)
        if state == RAISED:
            return i
        i = add_atomically(job.claims, 1)
    return -1


@njit
def settle(job: BatchJob, i: int, way: Way) -> None:
    """What follows from a sample that failed."""
    if way.skip:
        job.out[i] = 0
    else:
        job.claims[0] = job.sizes.size


@njit
def write_sample(job: BatchJob, i: int, scratch: Scratch, normalization: Normalization, way: Way) -> int:
    """One sample, or zeros for padding; returns its state."""
    if job.sizes[i] == 0:
        job.out[i] = 0
        return OK
    if not readable(job.addresses[i], job.sizes[i], way.page):
        return UNREADABLE
    data = bytes_at(job.addresses[i], job.sizes[i])
    if way.verify and job.hashes[i] != 0 and xxh3_64(data) != job.hashes[i]:
        return ALTERED
    if job.kinds[i] == OTHER:
        return NOT_RGB
    if job.kinds[i] == RAW:
        image = data.reshape(job.heights[i], job.widths[i], 3)
        return write_image(image, job, i, scratch, normalization, way.transform)
    found = examine(scratch.decoder, data)
    if found.state != OK:
        return found.state
    height, width = found.height, found.width
    if height * width > MOST_PIXELS:
        return TOO_LARGE
    state = choose(job, i, height, width, normalization)
    if state != OK:
        return state
    if way.transform == NO_TRANSFORM and as_stored(job.windows[i], normalization.rules.size):
        proved = way.verify and job.hashes[i] != 0
        if decode_part(scratch.decoder, found, data, job.windows[i], not proved):
            write_views(Source(0, width, planes_of(scratch.decoder, found)), job, i, scratch, normalization)
            return OK
    decoded = scratch.decoded
    if decoded.size < 3 * height * width:
        decoded = np.empty(3 * height * width, np.uint8)
    image = decoded[: 3 * height * width].reshape(height, width, 3)
    state = decode(scratch.decoder, found, data, image)
    if state != OK:
        return state
    return write_windows(image, job, i, scratch, normalization, way.transform)


@njit
def choose(job: BatchJob, i: int, height: int, width: int, normalization: Normalization) -> int:
    """Decides the windows of one sample; returns OK, TOO_SMALL or what else forbids to read them.

    What is read by address is proved here: windows lie in the image and, where the mean follows them, in the mean.
    """
    if job.heights[i] > 0 and (height != job.heights[i] or width != job.widths[i]):
        return WRONG_SIZE
    if normalization.follows and (height != normalization.height or width != normalization.width):
        return NOT_THE_MEANS
    return decide(
        normalization.rules, job.seed, job.epoch, job.draw_key[i], job.turns[i], height, width, job.windows[i]
    )


@njit
def as_stored(windows: np.ndarray, size: int) -> bool:
    """Whether all windows (float64 [V, 5]) are of the crop's own size, so that nothing is resampled."""
    different = 0
    for view in range(len(windows)):
        different += windows[view, 2] != size or windows[view, 3] != size
    return different == 0


@njit
def write_images(
    images: np.ndarray, job: BatchJob, scratch: Scratch, normalization: Normalization, transform: int
) -> None:
    """Claims and writes the samples whose images are decoded already (uint8 [n, H, W, 3]) until none is left."""
    i = add_atomically(job.claims, 1)
    while i < len(images):
        job.states[i] = write_image(images[i], job, i, scratch, normalization, transform)
        i = add_atomically(job.claims, 1)


@njit
def write_image(
    image: np.ndarray, job: BatchJob, i: int, scratch: Scratch, normalization: Normalization, transform: int
) -> int:
    """All views of one decoded image (uint8 [H, W, 3]), whose windows are decided here; returns its state."""
    state = choose(job, i, image.shape[0], image.shape[1], normalization)
    if state != OK:
        return state
    return write_windows(image, job, i, scratch, normalization, transform)


@njit
def write_windows(
    image: np.ndarray, job: BatchJob, i: int, scratch: Scratch, normalization: Normalization, transform: int
) -> int:
    """All views of one decoded image (uint8 [H, W, 3]), whose windows are decided already; returns OK or RAISED."""
    rules = normalization.rules
    size = rules.size
    if transform == NO_TRANSFORM and as_stored(job.windows[i], size):
        write_views(image_source(image), job, i, scratch, normalization)
        return OK
    draw_colour(job, i, scratch, normalization)
    for number in range(len(job.windows[i])):
        window = job.windows[i, number]
        top, left = int(window[0]), int(window[1])
        if window[2] != size or window[3] != size:
            resample(image, window, rules.resized, scratch.crop, rules.bicubic)
        else:
            cut(image, top, left, scratch.crop)
        if transform != NO_TRANSFORM:
            seed = np.int64(job.seed)  # the same bits
            if call_at(transform, scratch.crop.ctypes.data, size, seed, job.epoch, job.ids[i], job.turns[i]) != 0:
                return RAISED
        view = view_of(window, image.shape[1], normalization)
        view = View(0, 0, view.mirror, view.mean_top, view.mean_left)
        write_one(image_source(scratch.crop), view, job, i, number, scratch, normalization)
    return OK


@njit
def cut(image: np.ndarray, top: int, left: int, crop: np.ndarray) -> None:
    """Copies what lies in `image` (uint8 [H, W, 3]) from a pixel on to `crop` (uint8 [S, S, 3])."""
    for y in range(crop.shape[0]):
        for x in range(crop.shape[1]):
            for channel in range(3):
                crop[y, x, channel] = image[top + y, left + x, channel]


@njit
def write_views(source: Source, job: BatchJob, i: int, scratch: Scratch, normalization: Normalization) -> None:
    """All views of a source, where nothing is resampled."""
    draw_colour(job, i, scratch, normalization)
    for number in range(len(job.windows[i])):
        view = view_of(job.windows[i, number], source.width, normalization)
        write_one(source, view, job, i, number, scratch, normalization)


@njit
def write_one(
    source: Source, view: View, job: BatchJob, i: int, number: int, scratch: Scratch, normalization: Normalization
) -> None:
    """View `number` of sample `i`, to its place."""
    views = len(job.windows[i])
    out = address_of(job.out) + (i * views + number) * (job.out.shape[1] // views)
    means, scale = normalization.means, normalization.scale
    write_view(source, view, scratch.row_buffers, means, scale, out, normalization.kind, normalization.planes_first)


@njit
def draw_colour(job: BatchJob, i: int, scratch: Scratch, normalization: Normalization) -> None:
    """Draws the colour of one sample, into `job.colours` and into the row that is added to its rows of pixels."""
    added = job.colours[i]
    added[0], added[1], added[2] = colour(normalization.rules, job.seed, job.epoch, job.ids[i], job.turns[i])
    for x in range(scratch.row_buffers.colour.size):
        scratch.row_buffers.colour[x] = added[x % 3]


@njit
def view_of(window: np.ndarray, width: int, normalization: Normalization) -> View:
    """A window (float64 [5]) of an image `width` pixels wide as a crop, with the part of the mean image under it."""
    top, left, mirror = int(window[0]), int(window[1]), int(window[4])
    mean_top, mean_left = 0, 0
    if normalization.follows:
        mean_top, mean_left = top, width - normalization.rules.size - left if mirror else left
    return View(top, left, mirror, mean_top, mean_left)
