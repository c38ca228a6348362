"""The parts for a stock WebDataset pipeline: see docs/interop.md. Its package is the part `webdataset`."""

from imagefeed.pipeline.interop.webdataset_stages import Augment, Count, urls_of

__all__ = ["Augment", "Count", "urls_of"]
