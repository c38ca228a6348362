"""The report's pictures, as URLs that hold all of them: samples of a dataset, the kernels of the first layer."""

import base64
import io

import numpy as np
from PIL import Image

THUMBNAIL = 128  # pixels, the longer side


def thumbnail(image: np.ndarray, side: int = THUMBNAIL) -> np.ndarray:
    """An image (uint8 [H, W, 3]), reduced so that its longer side has at most `side` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def kernel_grid(kernels: np.ndarray) -> np.ndarray:
    """Kernels (float [n, 3, h, w]) as tiles, 16 a row, one clear pixel between them: uint8 [H, W, 4], RGBA.

    Each kernel is stretched on its own, from its least weight (0) to its greatest (255), over all three
    channels, as in the paper's Figure 3: colours are true within a kernel, sizes are not compared between
    kernels.
    """
    low = kernels.min(axis=(1, 2, 3), keepdims=True)
    span = kernels.max(axis=(1, 2, 3), keepdims=True) - low
    levels = np.rint(255 * (kernels - low) / np.where(span > 0, span, 1)).astype(np.uint8)
    return tiles(levels.transpose(0, 2, 3, 1), columns=16, gap=1)


def response_picture(maps: np.ndarray) -> np.ndarray:
    """Maps (float [n, h, w], none negative) as tiles, 12 a row, clear gaps between them: uint8 [H, W, 4], RGBA.

    Each map is stretched on its own, from 0 (black) to its greatest value (white); one that is 0 everywhere is black.
    All is drawn twice as large.
    """
    greatest = maps.max(axis=(1, 2), keepdims=True)
    levels = np.rint(255 * maps / np.where(greatest > 0, greatest, 1)).astype(np.uint8)
    return tiles(levels[:, :, :, None], columns=12, gap=2).repeat(2, axis=0).repeat(2, axis=1)


def tiles(images: np.ndarray, *, columns: int, gap: int) -> np.ndarray:
    """Images (uint8 [n, h, w, 3], or [n, h, w, 1] of grey) row by row, `gap` clear pixels between them: uint8
    [H, W, 4], RGBA."""
    n, height, width, _ = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    grid = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for i, image in enumerate(images):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        grid[y : y + height, x : x + width, :3] = image
        grid[y : y + height, x : x + width, 3] = 255
    return grid


def data_url(image: np.ndarray) -> str:
    """An image (uint8 [H, W, 4] as PNG; [H, W, 3], a photograph, as JPEG) as a URL that holds all of it."""
    kind = {4: "png", 3: "jpeg"}[image.shape[2]]
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=85, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
