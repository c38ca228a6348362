"""No loader: libjpeg-turbo's full decode of every image, in a shuffled order, into one scratch image a thread.

What a loader of 256x256 JPEGs cannot pass as long as it decodes them whole with this library.
"""

import numpy as np

from benchmarks.contenders import UINT8, Epoch, Work
from imagefeed.pipeline.bench.ceilings import decode_all
from imagefeed.pipeline.loader.dataset import open_dataset

PACKAGE = "numba"
OUTPUTS = (UINT8,)
STORED = ("jpeg",)


def open(work: Work) -> Epoch:
    """The epoch of bare decoding."""
    dataset = open_dataset(work.data / "tar" / "train")
    rows = np.random.default_rng(0).permutation(len(dataset))
    return lambda: decode_all(dataset, rows, work.threads)
