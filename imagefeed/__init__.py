"""Images into GPUs: convert a labelled collection once, then feed it at the speed of the JPEG codec.

images -> sources -> plan -> shards -> manifest + statistics -> loader -> batches
          (table)   (ints)  (files)   (JSON, written last)     (decode + augment)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagefeed.pipeline.convert.convert import convert
    from imagefeed.pipeline.convert.options import ConvertOptions
    from imagefeed.pipeline.loader.batches import Batch
    from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
    from imagefeed.pipeline.loader.device import to_device
    from imagefeed.pipeline.loader.loader import Loader
    from imagefeed.pipeline.loader.options import LoaderOptions

_HOME_OF = {
    "convert": "pipeline.convert.convert",
    "ConvertOptions": "pipeline.convert.options",
    "open_dataset": "pipeline.loader.dataset",
    "Dataset": "pipeline.loader.dataset",
    "Batch": "pipeline.loader.batches",
    "Loader": "pipeline.loader.loader",
    "LoaderOptions": "pipeline.loader.options",
    "to_device": "pipeline.loader.device",
}

__all__ = ["Batch", "ConvertOptions", "Dataset", "Loader", "LoaderOptions", "convert", "open_dataset", "to_device"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'imagefeed' has no attribute {name!r}")
    return getattr(import_module(f"imagefeed.{_HOME_OF[name]}"), name)
