"""Images into GPUs: convert a labelled collection once, then feed it at the speed of the JPEG codec.

    images -> sources -> plan -> shards -> manifest + statistics -> loader -> batches
              (table)   (ints)  (files)   (JSON, written last)     (decode + augment)

The public names, imported when first asked for so that `import pipeline` costs nothing:

    convert(source, out, options)        images to shards, without Ray
    open_dataset(path)                   one split, ready for `.loader(...)`
    to_device(loader, device)            its batches on a GPU before they are asked for
    Batch, Dataset, Loader, LoaderOptions, ConvertOptions
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.conversion import convert
    from pipeline.dataset import Dataset, open_dataset
    from pipeline.device import to_device
    from pipeline.loader import Batch, Loader, LoaderOptions
    from pipeline.options import ConvertOptions

_HOME_OF = {
    "convert": "pipeline.conversion",
    "ConvertOptions": "pipeline.options",
    "open_dataset": "pipeline.dataset",
    "Dataset": "pipeline.dataset",
    "Batch": "pipeline.loader",
    "Loader": "pipeline.loader",
    "LoaderOptions": "pipeline.loader",
    "to_device": "pipeline.device",
}

__all__ = ["Batch", "ConvertOptions", "Dataset", "Loader", "LoaderOptions", "convert", "open_dataset", "to_device"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
