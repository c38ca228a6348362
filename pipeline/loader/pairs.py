"""A loader as training loops of others know it: pairs of images and labels."""

from collections.abc import Iterator
from itertools import compress
from typing import Any, Protocol

import torch

from imagefeed.pipeline.loader.batches import Batch


class Batches(Protocol):
    """What gives batches, of a known number."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Pairs:
    """A loader's epochs as (images [n, ...], labels int64 [n]), without rows of padding: the last batch may be shorter.

    Fields follow, where the loader was asked for some.
    Each `for` is the loader's next epoch.
    """

    def __init__(self, loader: Batches) -> None:
        self.loader = loader

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self.loader:
            parts = (batch.images, batch.labels, *batch[len(Batch._fields) :])
            yield parts if batch.valid.all() else tuple(kept(part, batch.valid) for part in parts)


def kept(part: Any, valid: torch.Tensor) -> Any:
    """The rows of a part of a batch, a tensor [B, ...] or a list of B, where `valid` (bool [B]) says so."""
    return part[valid] if isinstance(part, torch.Tensor) else list(compress(part, valid.tolist()))
