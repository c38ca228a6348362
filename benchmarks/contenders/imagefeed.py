"""imagefeed: the whole `alexnet` recipe, that is hash, decode, crop, mirror, PCA colour and per-pixel mean.

uint8 is hash, decode, crop and mirror. Defaults but for the number of threads.
"""

from typing import Any

from benchmarks.contenders import FP16, FP32, UINT8, Epoch, Work
from imagefeed.pipeline.loader.dataset import open_dataset

PACKAGE = "numba"
OUTPUTS = (FP32, FP16, UINT8)
STORED = ("jpeg", "raw")


def open(work: Work) -> Epoch:
    """Our loader over the tar, or over the beton of raw pixels."""
    dataset = open_dataset(work.data / ("tar" if work.stored == "jpeg" else "raw") / "train")
    output: dict[str, Any] = {"dtype": work.dtype, "layout": work.layout}
    loader = dataset.loader(num_threads=work.threads, batch_size=work.batch_size, **output)
    return lambda: sum(int(batch.valid.sum()) for batch in loader)
