"""From whatever an image file holds to the stored pixels, and back to bytes: the one place that knows odd files.

The definition, for every source and for good:

- Pixels are what Pillow decodes: libjpeg's accurate inverse DCT and smooth upsampling for JPEG, which libjpeg-turbo by
  itself decodes alike (`jpeg/codec.py`). Orientation in EXIF is ignored, as everybody does who trains on ImageNet.
- Grey becomes three equal channels. CMYK and YCCK JPEGs are taken as Adobe writes them, inverted, and become
  R = (255 - C) * (255 - K) / 255 and so on, Pillow's own conversion. Alpha is dropped, a palette is looked up. 16 bit
  grey keeps its upper 8 bits.
- "paper" geometry (section 2 of the paper): the shorter side becomes 256 and the central 256x256 is kept, in one
  resampling of the central square with a triangle filter that widens with the reduction (antialiased bilinear, see
  `resample.py`).
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from imagefeed.pipeline.image.resample import resample
from imagefeed.pipeline.image.resize import PAPER, PAPER_SIDE, Rule, crop_geometry

SIZE = PAPER_SIDE
# What is read at all. Pillow knows more, but an EPS is a program, which it would have Ghostscript run.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX", "TGA")


class Silence:
    """Holds back Pillow's remarks on odd metadata: the pixels are sound or it raises.

    Filters of warnings belong to the whole process, so of several threads the first one in sets them and the last one
    out restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


silence = Silence()


class BadImage(Exception):
    """An image that cannot be used; the text says why."""


def load_rgb(data: bytes) -> np.ndarray:
    """The pixels of the image file `data`: uint8 [H, W, 3], RGB. Raises `BadImage`."""
    return np.asarray(open_rgb(data))


def load_square(data: bytes, size: int = SIZE) -> np.ndarray:
    """The image file `data` in "paper" geometry: uint8 [size, size, 3], RGB. Raises `BadImage`."""
    image, square = load_rgb(data), np.empty((size, size, 3), np.uint8)
    window, _, _ = crop_geometry(Rule(PAPER, size), *image.shape[:2])
    resample(image, window, False, square)
    return square


def open_header(data: bytes) -> tuple[int, int]:
    """Height and width of the image file `data`, which is not decoded. Raises `BadImage`."""
    with refusing(data), silence, opened(data) as image:
        return image.height, image.width


def jpeg_header(data: bytes) -> tuple[int, int, int]:
    """Components, height and width of the JPEG `data`, which is not decoded. Raises `BadImage`, for PNGs too."""
    with refusing(data), silence, opened(data) as image:
        if image.format not in ("JPEG", "MPO"):
            raise UnidentifiedImageError
        return len(image.getbands()), image.height, image.width


def open_rgb(data: bytes) -> Image.Image:
    """The image file `data`, decoded, in mode RGB. Raises `BadImage`."""
    with refusing(data), silence:
        return to_rgb(opened(data))


def opened(data: bytes) -> Image.Image:
    """The image file `data`, of which no pixel is read yet. Raises what Pillow does, for other `FORMATS` too."""
    image = Image.open(io.BytesIO(data))
    if image.format not in FORMATS:
        raise UnidentifiedImageError
    return image


@contextmanager
def refusing(data: bytes) -> Iterator[None]:
    """What Pillow raises for a file that it cannot use becomes `BadImage`, with a text that is always the same."""
    try:
        yield
    except UnidentifiedImageError as error:  # its own text holds a memory address, and the reason goes into a file
        raise BadImage(f"no image format that Pillow knows begins with {data[:8]!r}") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise BadImage(f"{type(error).__name__}: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode that Pillow opens, as RGB by the module's definition."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I"):  # 16 bit grey: Pillow alone would clip at 255
        grey = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
