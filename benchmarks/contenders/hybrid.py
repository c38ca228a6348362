"""Our augmentation in FFCV's loop: its threads and its reading of the beton, our checks, libjpeg-turbo and our write.

Beside `imagefeed` it says what the two loops are worth, with the same work in each (`decoder` is libjpeg-turbo here and
our own there); `imagefeed` with turbojpeg is the other half of that comparison.
"""

from typing import Any

from benchmarks.contenders import FP16, FP32, UINT8, Epoch, Work
from imagefeed.pipeline.loader.dataset import open_dataset

PACKAGE = "ffcv"
OUTPUTS = (FP32, FP16, UINT8)
STORED = ("jpeg", "raw")


def open(work: Work) -> Epoch:
    """The engine `ffcv`."""
    from imagefeed.pipeline.interop.make_loader import make_loader
    from imagefeed.pipeline.loader.options import LoaderOptions

    dataset = open_dataset(work.data / ("beton" if work.stored == "jpeg" else "raw") / "train")
    how: dict[str, Any] = {
        "num_threads": work.threads,
        "batch_size": work.batch_size,
        "dtype": work.dtype,
        "layout": work.layout,
    }
    loader = make_loader("ffcv", dataset, LoaderOptions(**how))
    return lambda: sum(int(batch.valid.sum()) for batch in loader)
