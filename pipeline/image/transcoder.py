"""One image on its way into a shard: decoded, resized and encoded; or copied as it is.

A `Transcoder` keeps the codecs and buffers of one thread. What it makes of an image is a function of the image's bytes
and the options alone.
"""

from typing import NamedTuple

import numpy as np
import PIL

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
    with_room,
)
from imagefeed.pipeline.image.turbojpeg import OK, tell_of_pillow
from imagefeed.pipeline.jit.xxhash import xxh3_64

PROBE = 64  # pixels a side, see `codec_name`
# For `transcode`, which takes either.
NO_BYTES, NO_IMAGE = np.frombuffer(b"", np.uint8), np.empty((0, 0, 3), np.uint8)


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
        made = self._made(np.frombuffer(data, np.uint8), NO_IMAGE)
        if made.state not in (OK, TOO_LONG, UNSEEN):
            if data[:2] == b"\xff\xd8":
                tell_of_pillow()
            return self.prepare_pixels(np.ascontiguousarray(load_rgb(data)))
        return self._stored(made)

    def prepare_pixels(self, image: np.ndarray) -> StoredImage:
        """What is stored of an image that is decoded already (uint8 [H, W, 3], contiguous)."""
        return self._stored(self._made(NO_BYTES, image))

    def _stored(self, made: Transcoded) -> StoredImage:
        state, height, width, num_bytes = made
        if state not in (OK, TOO_LONG, UNSEEN):
            raise RuntimeError(f"these pixels cannot be stored (status {state}): is the memory sound?")
        if state == TOO_LONG:
            raise BadImage(f"{height}x{width} pixels are more than a JPEG can have: {LONGEST_SIDE} a side")
        scratch = self._scratch
        pixels = pixels_in(scratch.stored if self.coded else scratch.resized, height, width)  # what training will see
        payload = scratch.payload[:num_bytes] if self.coded else pixels.reshape(-1)
        if state == UNSEEN:
            pixels[:] = load_rgb(payload.tobytes())
        return StoredImage(payload.data, JPEG if self.coded else RAW, height, width, pixels)

    def _made(self, data: np.ndarray, image: np.ndarray) -> Transcoded:
        """What `transcode` makes of an image, once the desk has room for it."""
        data.flags.writeable = image.flags.writeable = False  # some may be written to, for which Numba compiles anew
        made = transcode(self._scratch, data, image, self.resize.rule, self.coded)
        if made.state == NO_ROOM:
            self._scratch = with_room(self._scratch, made)
            made = transcode(self._scratch, data, image, self.resize.rule, self.coded)
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


def codec_name() -> str:
    """The libraries that decode and encode, as a manifest names them: others may give other bytes.

    TurboJPEG 2 does not tell its version, so a probe stands for it and for our encoder: the hash of what both make of
    some pixels.
    """
    pixels = np.arange(3 * PROBE * PROBE, dtype=np.uint32) * 2654435761 >> 24
    kept = Storage(
        resize=f"short:{PROBE}", size=PROBE, encoding="jpeg", quality=90, codec="", sampling="4:2:0", huffman="shared"
    )
    transcoder = Transcoder(kept, decode_all=False, for_beton=False)
    stored = transcoder.prepare_pixels(pixels.astype(np.uint8).reshape(PROBE, PROBE, 3))
    payload = np.array(stored.payload)
    decoded = transcoder.jpeg.decode(payload.tobytes(), PROBE * PROBE)
    assert decoded is not None
    return f"libjpeg-turbo ({xxh3_64(payload) ^ xxh3_64(decoded.reshape(-1)):016x}), Pillow {PIL.__version__}"
