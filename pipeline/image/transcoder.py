"""One image on its way into a shard: decoded, resized and encoded; or copied as it is.

A `Transcoder` keeps the codecs and buffers of one thread. What it makes of an image is a function of the image's bytes
and the options alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.pillow import BadImage, load_rgb, open_header
from imagefeed.pipeline.image.resize import LONGEST_SIDE, Resize
from imagefeed.pipeline.image.stored import JPEG, MOST_PIXELS, OTHER, RAW, Storage
from imagefeed.pipeline.image.transcode_kernel import (
    NO_ROOM,
    TOO_LONG,
    UNSEEN,
    Transcoded,
    new_scratch,
    pixels_in,
    transcode,
    transcode_jpeg,
    with_room,
)
from imagefeed.pipeline.image.turbojpeg import OK, tell_of_pillow


class StoredImage(NamedTuple):
    """What is stored of one image."""

    payload: bytes | memoryview  # a view of memory that the next image overwrites
    kind: int  # JPEG, RAW or OTHER
    height: int  # pixels
    width: int
    pixels: np.ndarray | None  # uint8 [height, width, 3], as readers get them, until the next image; None: not looked


class Transcoder:
    """Makes payloads as `storage` says.

    `decode_all`: also decode what is copied; `for_beton`: write pixels of what FFCV cannot decode.
    """

    def __init__(self, storage: Storage, *, decode_all: bool, for_beton: bool) -> None:
        self.storage, self.resize, self.decode_all = storage, Resize.parse(storage.resize), decode_all
        self.for_beton = for_beton
        self.jpeg = JpegCodec()
        self.coded = storage.quality is not None
        self._scratch = new_scratch(Coding(storage.quality or 1, storage.sampling, storage.huffman).encoder())

    def prepare(self, data: bytes) -> StoredImage:
        """What is stored of the image file `data`. Raises `BadImage` where it cannot be used."""
        return self._copied(data) if self.storage.resize == "none" else self._resized_image(data)

    def _resized_image(self, data: bytes) -> StoredImage:
        made = self._made(transcode_jpeg, np.frombuffer(data, np.uint8))
        if made.state not in (OK, TOO_LONG, UNSEEN):
            if data[:2] == b"\xff\xd8":
                tell_of_pillow()
            made = self._made(transcode, np.ascontiguousarray(load_rgb(data)))
            if made.state not in (OK, TOO_LONG, UNSEEN):
                raise RuntimeError(f"these pixels cannot be stored (status {made.state}): is the memory sound?")
        state, height, width, num_bytes = made
        if state == TOO_LONG:
            raise BadImage(f"{height}x{width} pixels are more than a JPEG can have: {LONGEST_SIDE} a side")
        scratch = self._scratch
        pixels = pixels_in(scratch.stored if self.coded else scratch.resized, height, width)  # what training will see
        payload = scratch.payload[:num_bytes] if self.coded else pixels.reshape(-1)
        if state == UNSEEN:
            pixels[:] = load_rgb(payload.tobytes())
        return StoredImage(payload.data, JPEG if self.coded else RAW, height, width, pixels)

    def _made(self, make: Callable[..., Transcoded], image: np.ndarray) -> Transcoded:
        """What `make` makes of the image, once the desk has room for it."""
        rule = self.resize.rule
        made = make(self._scratch, image, rule, self.coded)
        if made.state == NO_ROOM:
            self._scratch = with_room(self._scratch, made)
            made = make(self._scratch, image, rule, self.coded)
        return made

    def _copied(self, data: bytes) -> StoredImage:
        """`data` itself; for a beton the pixels of what FFCV cannot decode, which is all but grey and RGB JPEGs."""
        state, height, width = self.jpeg.size(data)
        kind, pixels = (JPEG if state == OK else OTHER), None
        if kind == JPEG and self.decode_all:
            pixels = self.jpeg.decode(data, MOST_PIXELS)
            kind = OTHER if pixels is None else JPEG  # it decodes with a remark: readers ask Pillow, then
        if kind == OTHER:
            height, width = open_header(data)
            if self.for_beton:
                pixels = np.ascontiguousarray(load_rgb(data))
                return StoredImage(pixels.reshape(-1).data, RAW, height, width, pixels)
            pixels = load_rgb(data) if self.decode_all else None
        return StoredImage(data, kind, height, width, pixels)
