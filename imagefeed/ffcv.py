"""The parts for a stock FFCV pipeline: see docs/interop.md. Importing this page imports ffcv."""

from imagefeed.pipeline.interop.threads import threads_unchanged
from imagefeed.pipeline.runtime.parts import part

with part("ffcv"), threads_unchanged():  # FFCV sets them when it is imported
    from imagefeed.pipeline.interop.ffcv_ops import Augment, Decode, SafeLoader

__all__ = ["Augment", "Decode", "SafeLoader"]
