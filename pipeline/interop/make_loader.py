"""Training from other people's loaders, with our augmentation and the checks that they lack.

`make_loader("ffcv", dataset, options)` has what training needs of a `Loader`: batches, length, cursor. The parts, an
FFCV `Operation` and WebDataset stages, serve stock pipelines as well: see docs/interop.md.
"""

from typing import Literal

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.interop.base import OtherLoader, one_split
from imagefeed.pipeline.interop.threads import threads_unchanged
from imagefeed.pipeline.loader.loader import Loader
from imagefeed.pipeline.loader.options import LoaderOptions
from imagefeed.pipeline.runtime.parts import part

EngineName = Literal["imagefeed", "ffcv", "webdataset"]


def make_loader(name: EngineName, dataset: SampleStore, options: LoaderOptions) -> Loader | OtherLoader:
    """The loader of `dataset` that `name` names. Raises `ValueError` with the cure where the two do not suit."""
    if name == "ffcv":
        with part("ffcv"), threads_unchanged():  # FFCV sets them when it is imported, too
            from imagefeed.pipeline.interop.ffcv import FFCV

        return FFCV(one_split(dataset, "the loader ffcv"), options)
    if name == "webdataset":
        with part("webdataset"):
            from imagefeed.pipeline.interop.webdataset import WebDataset

        return WebDataset(one_split(dataset, "the loader webdataset"), options)
    return Loader(dataset, options)
