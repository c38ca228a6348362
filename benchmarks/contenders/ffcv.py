"""FFCV's own `Loader` on the same beton: its decoder, its transforms, its threads, pages in the page cache.

It has no random crop of a fixed size; `RandomResizedCrop` with the crop's area and ratio 1 gives one. It mirrors and
normalises by channel; no hash, no colour, no per-pixel mean, which it does not have. channels-last is its native
layout. It is the only rival whose decoder uses the fast inverse DCT. The buffers of an epoch are made anew.
"""

import numpy as np

from benchmarks.contenders import CROP, DEVIATION, FP16, FP32, MEAN, UINT8, Epoch, Work

PACKAGE = "ffcv"
OUTPUTS = (FP32, FP16, UINT8)
STORED = ("jpeg", "raw")


def open(work: Work) -> Epoch:
    """Its loader, shuffled, from the operating system's cache."""
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage

    share = CROP**2 / 256**2
    crop = RandomResizedCropRGBImageDecoder((CROP, CROP), scale=(share, share), ratio=(1.0, 1.0))
    dtype = np.dtype(work.dtype).type
    normalise = [] if work.dtype == "uint8" else [NormalizeImage(np.array(MEAN), np.array(DEVIATION), dtype)]
    tensor = [ToTensor(), ToTorchImage(channels_last=work.layout == "NHWC")]
    (beton,) = (work.data / ("beton" if work.stored == "jpeg" else "raw") / "train").glob("*.beton")
    loader = Loader(
        str(beton),
        batch_size=work.batch_size,
        num_workers=work.threads,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        pipelines={"image": [crop, RandomHorizontalFlip(), *normalise, *tensor], "label": [IntDecoder(), ToTensor()]},
    )
    return lambda: sum(len(labels) for _, labels in loader)
