"""JPEGs by libjpeg-turbo, for one thread: what conversion decodes and encodes at the speed of the codec."""

import weakref
from typing import NamedTuple

import numpy as np
import PIL

from pipeline import native
from pipeline.compiled import njit
from pipeline.jpeg_decoder import MCU_BYTES
from pipeline.jpeg_recode import Recoder, recode, recoder

SAMPLINGS = {"4:4:4": native.TJSAMP_444, "4:2:0": native.TJSAMP_420}
ROOM = 4 * MCU_BYTES  # that recoding needs behind the longest JPEG


class Coding(NamedTuple):
    """How pixels become a JPEG."""

    quality: int  # 1 to 100; 0: they do not
    sampling: int = native.TJSAMP_420
    recoded: bool = True  # with the tables of `jpeg_recode`; else with those of the standard's annex K


class Encoder(NamedTuple):
    """What one thread encodes with."""

    handle: int  # libjpeg-turbo's, of `native.tj_open_compress`
    recoder: Recoder


@njit
def encode(encoder: Encoder, image: np.ndarray, coding: Coding, draft: np.ndarray, out: np.ndarray) -> int:
    """Writes `image` (uint8 [H, W, 3], RGB, contiguous) as a baseline JPEG to `out`; returns its length, 0 where
    libjpeg-turbo failed. `out` and `draft` (uint8 [bytes]) have `most_bytes`."""
    if not coding.recoded:
        return native.compress(encoder.handle, image, coding.quality, coding.sampling, out)
    size = native.compress(encoder.handle, image, coding.quality, coding.sampling, draft)
    length = recode(encoder.recoder, draft[:size], out) if size > 0 else 0
    if length == 0:  # less than five columns, which `recode` does not know
        out[:size] = draft[:size]
        return size
    return length


@njit
def most_bytes(height: int, width: int) -> int:
    """What `encode` needs of memory for an image of this size."""
    return native.most_jpeg_bytes(height, width) + ROOM


def codec_name() -> str:
    """The libraries that decode and encode, as a manifest names them: others may give other bytes.

    TurboJPEG 2 does not tell its version, so a probe stands for it: the hash of the JPEG that it makes of some pixels.
    """
    pixels = np.arange(3 * 64 * 64, dtype=np.uint32) * 2654435761 >> 24
    probe = JpegCodec().encode(pixels.astype(np.uint8).reshape(64, 64, 3), Coding(90))
    return f"libjpeg-turbo ({native.xxh3_64(probe):016x}), Pillow {PIL.__version__}"


class JpegCodec:
    """A decoder and an encoder with their memory. Raises `MemoryError` where there is none to be had."""

    def __init__(self) -> None:
        native.check_numba()
        handle = native.tj_open_compress()
        if handle == 0:
            raise MemoryError("libturbojpeg has no memory for an encoder")
        weakref.finalize(self, native.tj_close, handle)
        self.encoder = Encoder(handle, recoder())
        self._pixels = np.empty(0, np.uint8)
        self._draft, self._bytes = np.empty(0, np.uint8), np.empty(0, np.uint8)

    def size(self, data: bytes) -> tuple[int, int, int]:
        """What the header of `data` says: a state of `native`, OK for JPEGs of grey or three colours; height, width."""
        return native.jpeg_size(np.frombuffer(data, np.uint8))

    def decode(self, data: bytes, most_pixels: int) -> np.ndarray | None:
        """The pixels of a JPEG (uint8 [H, W, 3], RGB), which the next call overwrites.

        None for anything but a JPEG of grey or three colours that decodes without a remark, and above `most_pixels`:
        what it is instead, Pillow knows.
        """
        array = np.frombuffer(data, np.uint8)
        state, height, width = native.jpeg_size(array)
        if state != native.OK or height * width > most_pixels:
            return None
        if self._pixels.size < 3 * height * width:
            self._pixels = np.empty(3 * height * width, np.uint8)
        image = self._pixels[: 3 * height * width].reshape(height, width, 3)
        return image if native.decompress(array, image) == native.OK else None

    def encode(self, image: np.ndarray, coding: Coding) -> np.ndarray:
        """A baseline JPEG of `image` (uint8 [H, W, 3], RGB): uint8 [bytes], which the next call overwrites."""
        height, width = image.shape[:2]
        most = most_bytes(height, width)
        if self._bytes.size < most:
            self._draft, self._bytes = np.empty(most, np.uint8), np.empty(most, np.uint8)
        length = encode(self.encoder, np.ascontiguousarray(image), coding, self._draft, self._bytes)
        if length == 0:
            raise RuntimeError(f"libjpeg-turbo cannot encode {height}x{width} pixels at quality {coding.quality}")
        return self._bytes[:length]

    def decode_again(self, payload: np.ndarray, out: np.ndarray) -> int:
        """Decodes what `encode` gave into `out` (uint8 [H, W, 3]); a state of `native`."""
        return native.decode_rgb(payload, out)
