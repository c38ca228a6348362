"""From whatever an image file holds to the stored pixels, and back to bytes: the one place that knows odd files.

The definition, for every source and for good:

- Pixels are what Pillow decodes: libjpeg's accurate inverse DCT and smooth upsampling for JPEG. Orientation in EXIF
  is ignored, as everybody does who trains on ImageNet.
- Grey becomes three equal channels. CMYK and YCCK JPEGs are taken as Adobe writes them, inverted, and become
  R = (255 - C) * (255 - K) / 255 and so on, Pillow's own conversion. Alpha is dropped, a palette is looked up. 16 bit
  grey keeps its upper 8 bits.
- "paper" geometry (section 2 of the paper): the shorter side becomes 256 and the central 256x256 is kept, in one
  resampling of the central square with a triangle filter that widens with the reduction (antialiased bilinear).
"""

import io
import warnings

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError, features

SIZE = 256  # pixels, the stored side in the paper


class BadImage(Exception):
    """An image that cannot be used; the text says why."""


def codec_name() -> str:
    """The library that decodes and encodes: other versions may give other bytes."""
    jpeg = features.version_feature("libjpeg_turbo") or features.version_codec("jpg")
    return f"Pillow {PIL.__version__}, libjpeg-turbo {jpeg}"


def load_rgb(data: bytes) -> np.ndarray:
    """The image file `data` as it is: uint8 [H, W, 3], RGB. Raises `BadImage`."""
    return np.asarray(open_rgb(data))


def load_square(data: bytes, size: int = SIZE) -> np.ndarray:
    """The image file `data` in "paper" geometry: uint8 [size, size, 3], RGB. Raises `BadImage`."""
    image = open_rgb(data)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    square = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(square)


def open_rgb(data: bytes) -> Image.Image:
    """The image file `data`, decoded to RGB. Raises `BadImage`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata: the pixels are sound or it raises
            return to_rgb(Image.open(io.BytesIO(data)))
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


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A baseline 4:2:0 JPEG of `image` (uint8 [H, W, 3], RGB), `quality` 1 to 100."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()
