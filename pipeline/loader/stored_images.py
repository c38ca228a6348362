"""Whole images as they are stored, one at a time: for a look at them, and for transforms in Python."""

from typing import NamedTuple

import numpy as np
import torch

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.mapped_file import page_to_ask, readable
from imagefeed.pipeline.image.decoder import Name, decode, examine, new_decoder
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.image.stored import JPEG, MOST_PIXELS, RAW
from imagefeed.pipeline.image.turbojpeg import NOT_RGB, OK, WRONG_SIZE
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.kernel.fused import ALTERED, TOO_LARGE, UNREADABLE, WHY

MOST_EXPECTED = 1 << 20  # pixels of an image that our own decoder has memory for; larger ones go to libjpeg-turbo


class Sample(NamedTuple):
    """One sample, as it is stored."""

    image: torch.Tensor  # uint8 [3, H, W], RGB
    label: int


class StoredImages:
    """Decodes the images of a split, for one thread."""

    def __init__(self, split: Split, decoder: Name = "own", verify: bool = True) -> None:
        columns = split.columns
        largest = int((columns.height.astype(np.int64) * columns.width).max())
        self._split, self._verify, self._page = split, verify, page_to_ask()
        self._decoder = new_decoder(decoder, min(largest or MOST_EXPECTED, MOST_EXPECTED))

    def __call__(self, row: int) -> np.ndarray:
        """The image of a row of the table, uint8 [H, W, 3], RGB. Raises `ValueError` with shard, sample and cure."""
        addresses, held = self._split.payload_addresses(np.array([row]))
        try:
            image = self._decoded(row, int(addresses[0]))
        except BadImage as error:
            raise ValueError(f"{self._split.name(row)}: {error}; leave it out and convert the source again") from error
        del held
        if isinstance(image, np.ndarray):
            return image
        raise ValueError(f"{self._split.name(row)}: {WHY[image]}")

    def sample(self, row: int) -> Sample:
        """The image of a row with its label. Raises what `__call__` does."""
        return Sample(torch.from_numpy(self(row)).permute(2, 0, 1), int(self._split.columns.label[row]))

    def _decoded(self, row: int, address: int) -> np.ndarray | int:
        """The image, or the state that says why there is none. Raises `BadImage`."""
        columns = self._split.columns
        size, kind, expected = int(columns.size[row]), columns.kind[row], columns.xxh3[row]
        height, width = int(columns.height[row]), int(columns.width[row])
        if not readable(address, size, self._page):
            return UNREADABLE
        data = bytes_at(address, size)
        if self._verify and expected != 0 and xxh3_64(data) != expected:
            return ALTERED
        if kind == RAW:
            return data.reshape(height, width, 3).copy()
        state = NOT_RGB
        if kind == JPEG:
            found = examine(self._decoder, data)
            state = found.state if found.height * found.width <= MOST_PIXELS else TOO_LARGE
            if state == OK:
                image = np.empty((found.height, found.width, 3), np.uint8)
                state = decode(self._decoder, found, data, image)
        if state == NOT_RGB:
            image, state = np.array(load_rgb(data.tobytes())), OK
        if state != OK:
            return state
        return image if not height or image.shape[:2] == (height, width) else WRONG_SIZE
