"""One image on its way into a shard: decoded, resized, encoded and decoded again; or copied as it is.

A `Preparer` keeps the codecs and buffers of one thread. What it makes of an image is a function of the image's bytes
and the options alone.
"""

from typing import NamedTuple

import numpy as np

from pipeline import native
from pipeline.codec import MOST_PIXELS, BadImage, load_rgb, open_header
from pipeline.jpeg import JpegCodec
from pipeline.manifest import JPEG, OTHER, RAW, Format, Storage
from pipeline.resample import resample
from pipeline.resizing import LONGEST_SIDE, Resize


class Prepared(NamedTuple):
    """What is stored of one image."""

    payload: bytes | memoryview  # a view of memory that the next image overwrites
    kind: int  # JPEG, RAW or OTHER
    height: int  # pixels
    width: int
    pixels: np.ndarray | None  # uint8 [height, width, 3], as readers get them, until the next image; None: not looked


class Preparer:
    """Makes payloads for shards of `formats`, as `storage` says; `look`: also decode what is copied."""

    def __init__(self, storage: Storage, formats: tuple[Format, ...], look: bool) -> None:
        self.storage, self.resize, self.look = storage, Resize.parse(storage.resize), look
        self.for_beton = "beton" in formats
        self.jpeg = JpegCodec()
        self._resized, self._stored = np.empty(0, np.uint8), np.empty(0, np.uint8)

    def prepare(self, data: bytes) -> Prepared:
        """What is stored of the image file `data`. Raises `BadImage` where it cannot be used."""
        return self._copied(data) if self.storage.resize == "none" else self._resized_image(data)

    def _resized_image(self, data: bytes) -> Prepared:
        image = self.jpeg.decode(data, MOST_PIXELS)
        image = load_rgb(data) if image is None else image
        window, height, width = self.resize.place(*image.shape[:2])
        if max(height, width) > LONGEST_SIDE:
            raise BadImage(f"{height}x{width} pixels are more than a JPEG can have: {LONGEST_SIDE} a side")
        size = 3 * height * width
        if self._resized.size < size:
            self._resized, self._stored = np.empty(size, np.uint8), np.empty(size, np.uint8)
        resized, stored = (buffer[:size].reshape(height, width, 3) for buffer in (self._resized, self._stored))
        if image.shape == resized.shape:
            resized[:] = image
        else:
            resample(image, window, False, resized)
        if self.storage.quality is None:
            return Prepared(resized.reshape(-1).data, RAW, height, width, resized)
        payload = self.jpeg.encode(resized, self.storage.quality)
        # Statistics are taken of what training will see, and no shard leaves with a JPEG that does not decode.
        status = self.jpeg.decode_again(payload, stored)
        if status != native.OK:
            raise RuntimeError(f"a JPEG just written does not decode (status {status}): is the memory sound?")
        return Prepared(payload.data, JPEG, height, width, stored)

    def _copied(self, data: bytes) -> Prepared:
        """`data` itself; for a beton the pixels of what FFCV cannot decode, which is all but grey and RGB JPEGs."""
        state, height, width = self.jpeg.size(data)
        kind, pixels = (JPEG if state == native.OK else OTHER), None
        if kind == JPEG and self.look:
            pixels = self.jpeg.decode(data, MOST_PIXELS)
            kind = OTHER if pixels is None else JPEG  # it decodes with a remark: readers ask Pillow, then
        if kind == OTHER:
            height, width = open_header(data)
            if self.for_beton:
                pixels = np.ascontiguousarray(load_rgb(data))
                return Prepared(pixels.reshape(-1).data, RAW, height, width, pixels)
            pixels = load_rgb(data) if self.look else None
        return Prepared(data, kind, height, width, pixels)
