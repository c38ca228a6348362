"""Other loaders set the process's numbers of threads; here they are put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


@contextmanager
def threads_unchanged() -> Iterator[None]:
    """FFCV sets Numba's and torch's numbers of threads to its own; they are as before when this is left."""
    of_numba, of_torch = numba.get_num_threads(), torch.get_num_threads()
    try:
        yield
    finally:
        numba.set_num_threads(of_numba)
        torch.set_num_threads(of_torch)
