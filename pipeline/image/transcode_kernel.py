"""From an image to what is stored of it, in one compiled call: decode, resize, encode.

    JPEG bytes -> blocks of the part that is kept -> rows, coloured when they are first looked at -> resized pixels
               -> coefficients -> JPEG, and the pixels that readers get of it

Only the entropy-coded bytes are read in full, so that damage is seen wherever it is; blocks that the crop does not
look at are not transformed. Each row is resampled while it is in the core's cache.
"""

from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.image.decoder import Decoder, decode_box, examine, new_decoder, planes_of
from imagefeed.pipeline.image.jpeg.encoder import Encoder, encode, most_bytes
from imagefeed.pipeline.image.jpeg.huffman_tables import OTHERS_WINDOW
from imagefeed.pipeline.image.jpeg.idct import STEP
from imagefeed.pipeline.image.jpeg.planes import bytes_needed, no_planes, paint, planes_in
from imagefeed.pipeline.image.resample import apply, filters, reach
from imagefeed.pipeline.image.resize import LONGEST_SIDE, Rule, crop_geometry
from imagefeed.pipeline.image.stored import MOST_PIXELS
from imagefeed.pipeline.image.turbojpeg import CORRUPT, NOT_RGB, OK, decompress
from imagefeed.pipeline.jit.njit import njit

NO_ROOM, TOO_LONG, TOO_MANY_BYTES = 31, 32, 33  # beside the states of the decoder
UNSEEN = 34  # the payload is made; what readers get of it Pillow must say, for there is no libjpeg-turbo
SMOOTHED = 5  # columns from which on chroma is smoothed as `jpeg.planes` does
MOST_OWN = 1 << 22  # pixels of an image that our own decoder takes; larger ones are libjpeg-turbo's


class TranscodeScratch(NamedTuple):
    """What one thread works with; the arrays are uint8 [bytes]."""

    decoder: Decoder
    encoder: Encoder
    image: np.ndarray  # as it is decoded
    resized: np.ndarray
    samples: np.ndarray  # of what is stored: its planes
    stored: np.ndarray  # `resized` as readers get it
    clean: np.ndarray  # the entropy-coded bytes without stuffing
    payload: np.ndarray  # the JPEG


class Transcoded(NamedTuple):
    """What became of an image, or what is in the way."""

    state: int  # of `turbojpeg`; NO_ROOM, TOO_LONG, TOO_MANY_BYTES, UNSEEN
    height: int  # pixels that are stored
    width: int
    num_bytes: int  # of the payload; for NO_ROOM those of `TranscodeScratch.image` that are needed


def new_scratch(encoder: Encoder) -> TranscodeScratch:
    """Scratch memory with no room yet for images."""
    return TranscodeScratch(
        new_decoder("own", MOST_OWN, OTHERS_WINDOW), encoder, *(np.empty(0, np.uint8) for _ in range(6))
    )


def with_room(scratch: TranscodeScratch, made: Transcoded) -> TranscodeScratch:
    """The desk with room for what `made` says that it lacked."""
    pixels = 3 * made.height * made.width
    most = most_bytes(made.height, made.width)
    return scratch._replace(
        image=at_least(scratch.image, made.num_bytes),
        resized=at_least(scratch.resized, pixels),
        samples=at_least(scratch.samples, bytes_needed(made.height, made.width, scratch.encoder.halved)),
        stored=at_least(scratch.stored, pixels),
        clean=at_least(scratch.clean, most),
        payload=at_least(scratch.payload, most),
    )


def at_least(memory: np.ndarray, size: int) -> np.ndarray:
    """The memory itself, or more of it (uint8 [size]); what it holds is lost then."""
    return memory if memory.size >= size else np.empty(size, np.uint8)


@njit
def transcode(scratch: TranscodeScratch, data: np.ndarray, image: np.ndarray, rule: Rule, coded: bool) -> Transcoded:
    """Makes what is stored of the JPEG `data` (uint8 [bytes]), `coded` as a JPEG or as raw pixels; where `data` is
    empty, of an `image` that is decoded already (uint8 [H, W, 3]).

    Whatever has a state other than OK, NO_ROOM, TOO_LONG or UNSEEN is for Pillow to judge.
    """
    rows, columns, needed = image.shape[0], image.shape[1], image_bytes(0, 0)
    is_jpeg = data.size > 0
    if is_jpeg:
        found = examine(scratch.decoder, data)
        rows, columns = found.height, found.width
        if found.state != OK or rows * columns > MOST_PIXELS:
            return Transcoded(CORRUPT, 0, 0, 0)
        needed = image_bytes(rows, columns)
    window, height, width = crop_geometry(rule, rows, columns)
    state = room(scratch, needed, height, width)
    if state != OK:
        return Transcoded(state, height, width, needed)
    resized, planes = pixels_in(scratch.resized, height, width), no_planes()
    down, across = filters(rows, columns, window, False, height, width)
    if is_jpeg:
        image = pixels_in(scratch.image, rows, columns)
        (top, bottom), (left, right) = reach(down), reach(across)
        if decode_box(scratch.decoder, found, data, (top, left, bottom, right), True):
            planes = planes_of(scratch.decoder, found)
        elif decompress(data, image) != OK:
            return Transcoded(CORRUPT, 0, 0, 0)
    apply(image, down, across, resized, planes)
    return store(scratch, resized, coded)


@njit
def store(scratch: TranscodeScratch, resized: np.ndarray, coded: bool) -> Transcoded:
    """Writes `resized` as a JPEG to `scratch.payload` and its pixels to `scratch.stored`, where it is to be `coded`."""
    height, width, halved = resized.shape[0], resized.shape[1], scratch.encoder.halved
    if not coded:
        return Transcoded(OK, height, width, resized.size)
    planes = planes_in(scratch.samples, scratch.decoder.space.row, height, width, halved)
    size = encode(scratch.encoder, resized, scratch.clean, scratch.payload, planes)
    if size == 0:
        return Transcoded(TOO_MANY_BYTES, height, width, 0)
    stored = pixels_in(scratch.stored, height, width)
    if width >= SMOOTHED:
        paint(planes, stored)
        return Transcoded(OK, height, width, size)
    state = decompress(scratch.payload[:size], stored)
    return Transcoded(UNSEEN if state == NOT_RGB else state, height, width, size)


@njit
def room(scratch: TranscodeScratch, needed: int, height: int, width: int) -> int:
    """OK where the desk has the bytes that are `needed` for an image that becomes `height` x `width` pixels."""
    if max(height, width) > LONGEST_SIDE:
        return TOO_LONG
    pixels, most = 3 * height * width, most_bytes(height, width)
    fits = scratch.image.size >= needed and min(scratch.clean.size, scratch.payload.size) >= most
    fits &= scratch.samples.size >= bytes_needed(height, width, scratch.encoder.halved)
    return OK if fits and min(scratch.resized.size, scratch.stored.size) >= pixels else NO_ROOM


@njit
def image_bytes(rows: int, columns: int) -> int:
    """Bytes for a decoded image, with `pixel_row`'s room behind it."""
    return 3 * (rows * columns + STEP)


@njit
def pixels_in(memory: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """An image in a desk's memory."""
    return memory[: 3 * rows * columns].reshape(rows, columns, 3)
