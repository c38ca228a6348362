"""What the first layer answers to an image, as one picture of all its maps."""

import numpy as np
from PIL import Image

COLUMNS, SCALE = 12, 2


def response_picture(maps: np.ndarray) -> np.ndarray:
    """Maps (float [n, h, w], none negative) as tiles, row by row, with clear gaps: uint8 [H, W, 4], RGBA.

    Each map is stretched on its own, from 0 (black) to its greatest value (white); one that is 0 everywhere is black.
    """
    n, height, width = maps.shape
    greatest = maps.max(axis=(1, 2), keepdims=True)
    levels = np.rint(255 * maps / np.where(greatest > 0, greatest, 1)).astype(np.uint8)
    columns = min(COLUMNS, n)
    gap = 2
    grid = np.zeros((-(-n // columns) * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for i, level in enumerate(levels):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        grid[y : y + height, x : x + width, :3] = level[:, :, None]
        grid[y : y + height, x : x + width, 3] = 255
    size = SCALE * grid.shape[1], SCALE * grid.shape[0]
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.NEAREST))
