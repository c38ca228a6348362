"""Training from the loaders of others, with our augmentation and the checks that they lack.

`feeder("ffcv", dataset, options)` has what training needs of a `Loader`: batches, length, place. The parts, an FFCV
`Operation` and WebDataset stages, serve stock pipelines as well: see docs/engines.md. These files alone import ffcv and
webdataset, and only when they are asked for.
"""

from typing import Literal

from pipeline.dataset import Dataset
from pipeline.engines.engine import Engine
from pipeline.engines.threads import threads_unchanged
from pipeline.loader import Loader, LoaderOptions

EngineName = Literal["imagefeed", "ffcv", "webdataset"]


def feeder(engine: EngineName, dataset: Dataset, options: LoaderOptions) -> Loader | Engine:
    """The loader of `dataset` that `engine` names. Raises `ValueError` with the cure where the two do not suit."""
    if engine == "ffcv":
        with threads_unchanged():  # FFCV sets them when it is imported, too
            from pipeline.engines.ffcv import FFCV

        return FFCV(dataset, options)
    if engine == "webdataset":
        from pipeline.engines.webdataset import WebDataset

        return WebDataset(dataset, options)
    return Loader(dataset, options)
