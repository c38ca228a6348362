"""The contenders of `bench_loader`, one file each. Each runs in a process of its own (`benchmarks.child`).

A contender's module has
    PACKAGE   the distribution that it needs, and is skipped without
    OUTPUTS   what it is asked for: (dtype, layout) of the batches
    STORED    what it reads: "jpeg", or "raw" too
    open(work) -> epoch, a function that runs one whole epoch and returns how many images it gave

All of them deliver the same thing: shuffled batches of random 224x224 crops of the stored 256x256, mirrored or not;
float outputs normalised. What more or less one does, and why it is set up as it is, its docstring says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Epoch = Callable[[], int]

FP32, FP16, UINT8 = ("float32", "NCHW"), ("float16", "NHWC"), ("uint8", "NHWC")
NAMES = (
    "codec",
    "memory",
    "imagefeed",
    "turbojpeg",
    "hybrid",
    "ffcv",
    "dali",
    "torch",
    "torchvision",
    "transform",
    "webdataset",
    "litdata",
    "grain",
    "spdl",
)  # in the order of the table
CROP = 224  # pixels
MEAN = (123.7, 116.3, 103.5)  # of ImageNet's pixels, grey levels, for who normalises by channel
DEVIATION = (58.4, 57.1, 57.4)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one contender is to do."""

    data: Path  # with the splits tar/train, beton/train and raw/train, and the folders files and litdata
    stored: str  # "jpeg" or "raw"
    dtype: str
    layout: str
    threads: int  # that decode, or worker processes
    batch_size: int
