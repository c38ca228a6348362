"""JPEGs in Python, for one thread: what is not read or written by the compiled loops."""

from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.image.decoder import decode, examine, new_decoder
from imagefeed.pipeline.image.jpeg.encoder import Encoder, encode, most_bytes, new_encoder
from imagefeed.pipeline.image.jpeg.planes import bytes_needed, planes_in
from imagefeed.pipeline.image.pillow import BadImage, jpeg_header, load_rgb
from imagefeed.pipeline.image.stored import HuffmanTables, Sampling
from imagefeed.pipeline.image.turbojpeg import CORRUPT, FOUND, NOT_RGB, OK, decompress, jpeg_size, tell_of_pillow
from imagefeed.pipeline.jit.clib import check_numba


class Coding(NamedTuple):
    """How pixels become a JPEG."""

    quality: int  # 1 to 100, in the scale of libjpeg
    sampling: Sampling = "4:2:0"
    huffman: HuffmanTables = "shared"

    def encoder(self) -> Encoder:
        """What encodes so."""
        return new_encoder(self.quality, self.sampling == "4:2:0", self.huffman == "shared")


class JpegCodec:
    """libjpeg-turbo's decoder and our encoder with their memory.

    Where libjpeg-turbo is not installed our decoder and Pillow stand for it. Pillow says nothing of what libjpeg-turbo
    warns of, so of the few JPEGs that our decoder does not take a damaged one may pass for sound.
    """

    def __init__(self) -> None:
        check_numba()
        self._encoders: dict[Coding, Encoder] = {}
        self._pixels = np.empty(0, np.uint8)
        self._own, self._room = new_decoder("own", 0), 0

    def size(self, data: bytes) -> tuple[int, int, int]:
        """What the header of `data` says: a state, OK for JPEGs of grey or three colours; height, width."""
        if FOUND:
            return jpeg_size(np.frombuffer(data, np.uint8))
        try:
            components, height, width = jpeg_header(data)
        except BadImage:
            return CORRUPT, 0, 0
        return (OK if components < 4 else NOT_RGB), height, width

    def decode(self, data: bytes, most_pixels: int) -> np.ndarray | None:
        """The pixels of a JPEG (uint8 [H, W, 3], RGB), which the next call overwrites.

        None for anything but a JPEG of grey or three colours that decodes without a remark, and above `most_pixels`:
        what it is instead, Pillow knows.
        """
        array = np.frombuffer(data, np.uint8)
        state, height, width = self.size(data)
        if state != OK or height * width > most_pixels:
            return None
        if self._pixels.size < 3 * height * width:
            self._pixels = np.empty(3 * height * width, np.uint8)
        image = self._pixels[: 3 * height * width].reshape(height, width, 3)
        if FOUND:
            return image if decompress(array, image) == OK else None
        if height * width > self._room:
            self._own, self._room = new_decoder("own", height * width), height * width
        found = examine(self._own, array)
        if found.own:
            return image if decode(self._own, found, array, image) == OK else None
        tell_of_pillow()
        try:
            return load_rgb(data)
        except BadImage:
            return None

    def encode(self, image: np.ndarray, coding: Coding) -> np.ndarray:
        """A baseline JPEG of `image` (uint8 [H, W, 3], RGB): uint8 [bytes]."""
        if coding not in self._encoders:
            self._encoders[coding] = coding.encoder()
        encoder, (height, width) = self._encoders[coding], image.shape[:2]
        clean, out = (np.empty(most_bytes(height, width), np.uint8) for _ in range(2))
        samples, row = np.empty(bytes_needed(height, width, encoder.halved), np.uint8), np.empty(0, np.uint8)
        planes = planes_in(samples, row, height, width, encoder.halved)
        length = encode(encoder, np.ascontiguousarray(image), clean, out, planes)
        if length == 0:
            raise RuntimeError(f"these {height}x{width} pixels make a JPEG larger than any image does")
        return out[:length].copy()
