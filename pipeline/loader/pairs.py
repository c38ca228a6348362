"""A loader as training loops of others know it: pairs of images and labels."""

from collections.abc import Iterator
from typing import Protocol

import torch

from imagefeed.pipeline.loader.batches import Batch


class Batches(Protocol):
    """What gives batches, of a known number."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Pairs:
    """A loader's epochs as (images [n, ...], labels int64 [n]), without rows of padding: the last batch may be shorter.

    Each `for` is the loader's next epoch.
    """

    def __init__(self, loader: Batches) -> None:
        self.loader = loader

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.loader:
            if batch.valid.all():
                yield batch.images, batch.labels
            else:
                yield batch.images[batch.valid], batch.labels[batch.valid]
