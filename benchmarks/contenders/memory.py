"""No loader: each crop's bytes are read from where the image is stored and written to the batch, and nothing else.

As many bytes are written as the output has (a byte goes into as many as its type is wide), into batches that are
used again. What a loader of raw pixels cannot pass.
"""

import numpy as np

from benchmarks.contenders import CROP, FP16, FP32, UINT8, Epoch, Work
from imagefeed.pipeline.bench.ceilings import copy_all
from imagefeed.pipeline.loader.dataset import open_dataset

PACKAGE = "numba"
OUTPUTS = (FP32, FP16, UINT8)
STORED = ("raw",)


def open(work: Work) -> Epoch:
    """The epoch of bare copying."""
    dataset = open_dataset(work.data / "raw" / "train")
    rows = np.random.default_rng(0).permutation(len(dataset))
    out = np.zeros((work.batch_size, CROP, np.dtype(work.dtype).itemsize * 3 * CROP), np.uint8)
    return lambda: copy_all(dataset, rows, out, work.threads)
