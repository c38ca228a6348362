"""A listing as long as one likes, of images that do not exist: what a driver must hold, before any pixel is read."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.sources.image_table import Source, rows

CLASSES = tuple(Class(wnid=f"n{number:08}", words="") for number in range(1000))


def synthetic_source(count: int) -> Source:
    """A source of one split, as ImageNet's training images are listed from their tars: names, sizes, offsets."""
    number = np.arange(count)
    label = number * len(CLASSES) // count
    wnid = pc.take(pa.array([each.wnid for each in CLASSES]), pa.array(label))
    digits = pc.utf8_lpad(pc.cast(pa.array(number), pa.string()), 8, "0")
    size = np.random.default_rng(0).gamma(4.0, 110_000 / 4, count).astype(np.int64)  # bytes
    table = rows(
        key=pc.binary_join_element_wise(wnid, digits, "/"),
        label=label,
        file=pa.array(["ILSVRC2012_img_train.tar"]).take(pa.array(np.zeros(count, np.int64))),
        offset=np.cumsum(size) - size,
        size=size,
        stamp=np.zeros(count, np.int64),
    )
    return Source(kind="synthetic", root="/nowhere", classes=CLASSES, splits={"train": table})
