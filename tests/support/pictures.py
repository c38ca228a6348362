"""Small pictures, drawn from a seed, and the bytes of image files."""

import io

import numpy as np
from PIL import Image


def picture(seed: int, height: int, width: int, *, noise: int = 0) -> np.ndarray:
    """A smooth random picture, uint8 [height, width, 3]: JPEG keeps it nearly as it is. `noise` is how far a value may
    be off."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    if noise == 0:
        return smooth
    noisy = smooth.astype(np.int64) + rng.integers(-noise, noise + 1, smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def noisy_picture(seed: int, height: int, width: int) -> np.ndarray:
    """The same with some noise, so that its JPEG has something of everything."""
    return picture(seed, height, width, noise=9)


def encoded(image: np.ndarray, kind: str = "JPEG", mode: str | None = None, **options: object) -> bytes:
    """`image` as the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image, mode).save(buffer, kind, **options)
    return buffer.getvalue()
