"""A loader as training loops of others know it: pairs of images and labels."""

from collections.abc import Generator, Iterator
from itertools import compress
from typing import Any, Protocol

import torch

from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.runtime.in_turn import InTurn
from imagefeed.pipeline.sampling.order import RankSlice


class Batches(Protocol):
    """What gives batches, of a known number."""

    @property
    def sampler(self) -> Any: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Pairs:
    """A loader's epochs as (images [n, ...], labels int64 [n]), without rows of padding: the last batch may be shorter.

    Fields follow, where the loader was asked for some. Each `for` is the loader's next epoch. `num_samples` is that of
    an epoch over all ranks. Raises `ValueError` where the last batch of a rank would have no row, of which a mean loss
    is no number.
    """

    def __init__(self, loader: Batches, rank_slice: RankSlice, num_samples: int) -> None:
        rest = num_samples % rank_slice.global_batch
        if not rank_slice.drop_last and 0 < rest <= rank_slice.global_batch - rank_slice.batch_size:
            raise ValueError(
                f"the last {rest} of {num_samples} samples are not enough for a row on each of {rank_slice.world_size} "
                "ranks: give drop_last=True, or take batches rather than pairs"
            )
        self.loader = loader

    @property
    def sampler(self) -> Any:
        """What training loops of others call `set_epoch` on: the loader."""
        return self.loader.sampler

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return InTurn(self._epoch())

    def _epoch(self) -> Generator[tuple[Any, ...], None, None]:
        for batch in self.loader:
            parts = (batch.images, batch.labels, *batch[len(Batch._fields) :])
            yield parts if batch.valid.all() else tuple(kept(part, batch.valid) for part in parts)


def kept(part: Any, valid: torch.Tensor) -> Any:
    """The rows of a part of a batch, a tensor [B, ...] or a list of B, where `valid` (bool [B]) says so."""
    return part[valid] if isinstance(part, torch.Tensor) else list(compress(part, valid.tolist()))
