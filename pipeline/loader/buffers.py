"""Memory for batches, used again once nobody holds the batch that it was lent to.

A batch of fp32 crops is 77 MB. Were it new each time, the operating system would have to map and zero it page by page.
A tensor keeps the array behind it alive, and so does every view of the tensor; when the last of them is gone, the
memory comes back. So `list(loader)` is right, and a plain loop needs only a few buffers.
"""

import weakref
from collections import deque
from typing import NamedTuple

import numpy as np
import torch

from imagefeed.pipeline.kernel.write import BFLOAT16, FLOAT16, FLOAT32, UINT8


class Output(NamedTuple):
    """A type of output: the tensor's, and what the kernel calls it."""

    tensor: torch.dtype
    kind: int


DTYPES = {
    "float32": Output(torch.float32, FLOAT32),
    "float16": Output(torch.float16, FLOAT16),
    "bfloat16": Output(torch.bfloat16, BFLOAT16),
    "uint8": Output(torch.uint8, UINT8),
}


class Buffers:
    """Tensors of one shape and type, of which at most `num_kept` free ones are kept for the next use.

    Pinned memory comes from torch's own pool instead, which also knows when a copy to a GPU has ended.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, num_kept: int, pinned: bool = False) -> None:
        self.shape, self.dtype, self.pinned = shape, DTYPES[dtype], pinned
        self._free: deque[np.ndarray] = deque(maxlen=num_kept)

    def take(self) -> tuple[torch.Tensor, np.ndarray]:
        """A tensor of unknown content and its bytes (uint8 array), which are valid while the tensor lives."""
        if self.pinned:
            tensor = torch.empty(self.shape, dtype=self.dtype.tensor, pin_memory=True)
            return tensor, tensor.view(torch.uint8).numpy()
        try:
            memory = self._free.pop()
        except IndexError:
            memory = torch.empty(self.shape, dtype=self.dtype.tensor).view(torch.uint8).numpy()
        lent = memory.view()
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent).view(self.dtype.tensor), memory
