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


class Output(NamedTuple):
    """A type of output: the tensor's, and what Numba writes, which has neither of the 16-bit floats."""

    tensor: torch.dtype
    written: torch.dtype


DTYPES = {
    "float32": Output(torch.float32, torch.float32),
    "float16": Output(torch.float16, torch.int16),
    "bfloat16": Output(torch.bfloat16, torch.uint16),
    "uint8": Output(torch.uint8, torch.uint8),
}


class Buffers:
    """Tensors of one shape and type, of which at most `num_kept` free ones are kept for the next use.

    Pinned memory comes from torch's own pool instead, which also knows when a copy to a GPU has ended.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, num_kept: int, pinned: bool = False) -> None:
        self.shape, self.dtype, self.pinned = shape, DTYPES[dtype], pinned
        self._free: deque[np.ndarray] = deque(maxlen=num_kept)

    def take(self) -> tuple[torch.Tensor, np.ndarray]:
        """A tensor of unknown content and the same memory as an array, which is valid while the tensor lives."""
        if self.pinned:
            tensor = torch.empty(self.shape, dtype=self.dtype.tensor, pin_memory=True)
            return tensor, tensor.view(self.dtype.written).numpy()
        try:
            memory = self._free.pop()
        except IndexError:
            memory = torch.empty(self.shape, dtype=self.dtype.written).numpy()
        lent = memory.view()
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent).view(self.dtype.tensor), memory
