"""Images into GPUs: convert a labelled collection once, then feed it at the speed of the JPEG codec.

    images -> sources -> plan -> shards -> manifest + statistics -> loader -> batches
              (table)   (ints)  (files)   (JSON, written last)     (decode + augment)

This page is the whole public interface; what it does not list may change in any version.

    convert(source, out, options)        images to shards, without Ray
    open_dataset(path)                   one split, ready for `.loader(...)`
    concat(datasets)                     several of them as one
    mix(datasets, weights)               several of them, mixed by weight in each epoch
    to_device(loader, device)            its batches on a GPU before they are asked for
    Augmenter(dataset, options)          the augmentation alone, for images that are decoded already
    Batch, Dataset, JoinedDataset, Loader    what these give
    ConvertOptions, LoaderOptions        what they take
    CacheOptions, StorageOptions         what `open_dataset` takes for a dataset in an object store

    imagefeed.random                     the random numbers for a transform of one's own
    imagefeed.ffcv                       the parts for a stock FFCV pipeline
    imagefeed.webdataset                 the parts for a stock WebDataset pipeline

Each name is imported when it is first asked for: `import imagefeed` alone costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagefeed.pipeline.convert.convert import convert
    from imagefeed.pipeline.convert.options import ConvertOptions
    from imagefeed.pipeline.files.cache import CacheOptions
    from imagefeed.pipeline.files.object_store import StorageOptions
    from imagefeed.pipeline.loader.augmenter import Augmenter
    from imagefeed.pipeline.loader.batches import Batch
    from imagefeed.pipeline.loader.dataset import Dataset, JoinedDataset, concat, mix, open_dataset
    from imagefeed.pipeline.loader.device import to_device
    from imagefeed.pipeline.loader.loader import Loader
    from imagefeed.pipeline.loader.options import LoaderOptions

_HOME_OF = {
    "Augmenter": "pipeline.loader.augmenter",
    "Batch": "pipeline.loader.batches",
    "CacheOptions": "pipeline.files.cache",
    "ConvertOptions": "pipeline.convert.options",
    "Dataset": "pipeline.loader.dataset",
    "JoinedDataset": "pipeline.loader.dataset",
    "Loader": "pipeline.loader.loader",
    "LoaderOptions": "pipeline.loader.options",
    "StorageOptions": "pipeline.files.object_store",
    "concat": "pipeline.loader.dataset",
    "convert": "pipeline.convert.convert",
    "mix": "pipeline.loader.dataset",
    "open_dataset": "pipeline.loader.dataset",
    "to_device": "pipeline.loader.device",
}

__all__ = [
    "Augmenter",
    "Batch",
    "CacheOptions",
    "ConvertOptions",
    "Dataset",
    "JoinedDataset",
    "Loader",
    "LoaderOptions",
    "StorageOptions",
    "concat",
    "convert",
    "mix",
    "open_dataset",
    "to_device",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'imagefeed' has no attribute {name!r}")
    return getattr(import_module(f"imagefeed.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
