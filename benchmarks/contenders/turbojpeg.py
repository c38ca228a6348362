"""imagefeed as in `imagefeed.py`, but decoded by libjpeg-turbo: what our own decoder gains shows between the two."""

from typing import Any

from benchmarks.contenders import FP16, FP32, UINT8, Epoch, Work
from imagefeed.pipeline.loader.dataset import open_dataset

PACKAGE = "numba"
OUTPUTS = (FP32, FP16, UINT8)
STORED = ("jpeg",)


def open(work: Work) -> Epoch:
    """Our loader over the tar."""
    output: dict[str, Any] = {"dtype": work.dtype, "layout": work.layout}
    loader = open_dataset(work.data / "tar" / "train").loader(
        num_threads=work.threads,
        batch_size=work.batch_size,
        **output,
        decoder="turbojpeg",
    )
    return lambda: sum(int(batch.valid.sum()) for batch in loader)
