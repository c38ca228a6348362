"""The part of the kernel that can be exchanged: from the bytes of a JPEG to pixels.

A decoder of our own (`jpeg.decoder`) for the common kind, libjpeg-turbo for all other kinds and for what looks damaged;
or libjpeg-turbo for all. Where it is not installed Pillow takes its part. The pixels are the same.
"""

from typing import Literal, NamedTuple

import numpy as np

from imagefeed.pipeline.image.jpeg.decoder import DecodeScratch, Header, new_scratch, read_header, read_scan
from imagefeed.pipeline.image.jpeg.huffman_tables import WINDOW
from imagefeed.pipeline.image.jpeg.planes import Planes, bytes_needed, paint, planes_in
from imagefeed.pipeline.image.turbojpeg import CURE, FOUND, OK, decompress, jpeg_size
from imagefeed.pipeline.jit.njit import njit

Name = Literal["own", "turbojpeg"]


class Decoder(NamedTuple):
    """What one thread decodes with."""

    own: bool  # whether our own decoder is asked first
    space: DecodeScratch


class Examined(NamedTuple):
    """What a JPEG says of itself."""

    state: int  # of `turbojpeg`
    height: int  # pixels
    width: int
    own: bool  # whether our own decoder takes it, if its scan is sound
    header: Header


def new_decoder(name: Name, num_pixels: int, window: int = WINDOW) -> Decoder:
    """A decoder for one thread at a time; `own` takes images of up to `num_pixels` pixels, and looks codes up by
    `window` bits. Raises `ValueError` where `turbojpeg` is not installed."""
    if name == "turbojpeg" and not FOUND:
        raise ValueError(f"decoder 'turbojpeg' is not on this machine: {CURE}, or leave it out")
    return Decoder(name == "own", new_scratch(num_pixels if name == "own" else 0, window))


@njit
def examine(decoder: Decoder, data: np.ndarray) -> Examined:
    """Reads the header of the JPEG `data` (uint8 [bytes])."""
    if decoder.own:
        header = read_header(decoder.space, data)
        needed = bytes_needed(header.height, header.width, header.halved)
        if header.height > 0 and needed <= decoder.space.samples.size:
            return Examined(OK, header.height, header.width, True, header)
    state, height, width = jpeg_size(data)
    return Examined(state, height, width, False, Header(0, 0, 0, 0, 0))


@njit
def decode(decoder: Decoder, found: Examined, data: np.ndarray, image: np.ndarray) -> int:
    """Decodes `data` into `image` (uint8 [H, W, 3], of the size that was found); a state of `turbojpeg`."""
    box = (0, 0, found.height, found.width)
    planes = planes_of(decoder, found)
    if not found.own or not read_scan(decoder.space, found.header, planes, data, box, True):
        return decompress(data, image)
    paint(planes, image)
    return OK


@njit
def decode_part(decoder: Decoder, found: Examined, data: np.ndarray, windows: np.ndarray, whole: bool) -> bool:
    """Decodes the blocks that `windows` (float64 [V, 5], see `recipes`) look at, for `planes_of`; False where our own
    decoder cannot. Until it is `whole`, damage behind the last of these blocks is not seen."""
    top, left, bottom, right = found.height, found.width, 0, 0
    for i in range(len(windows)):
        top, left = min(top, int(windows[i, 0])), min(left, int(windows[i, 1]))
        bottom = max(bottom, int(windows[i, 0] + windows[i, 2]))
        right = max(right, int(windows[i, 1] + windows[i, 3]))
    return decode_box(decoder, found, data, (top, left, bottom, right), whole)


@njit
def decode_box(
    decoder: Decoder, found: Examined, data: np.ndarray, box: tuple[int, int, int, int], whole: bool
) -> bool:
    """As `decode_part`, for the pixels of `box` (top, left, bottom, right)."""
    return found.own and read_scan(decoder.space, found.header, planes_of(decoder, found), data, box, whole)


@njit
def planes_of(decoder: Decoder, found: Examined) -> Planes:
    """Where samples of an image are decoded to, until the next image is."""
    space, header = decoder.space, found.header
    return planes_in(space.samples, space.row, header.height, header.width, header.halved)
