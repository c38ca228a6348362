"""The fields that batches carry behind images, labels, ids and valid; a batch without fields is left as it is."""

from collections import namedtuple
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch

from imagefeed.pipeline.dataset.fields import batch_values
from imagefeed.pipeline.dataset.sample_store import SampleStore

BatchTuple = TypeVar("BatchTuple", bound=tuple[Any, ...])


class BatchFields:
    """The fields `names` of `dataset`, ready to be put into batches.

    Raises `ValueError` for a name that the dataset lacks, with those that it has.
    """

    def __init__(self, dataset: SampleStore, names: Sequence[str], pad: int) -> None:
        self._columns, self._pad = dataset.fields(names), pad

    def added(self, batch: BatchTuple, rows: np.ndarray) -> BatchTuple:
        """`batch` with the fields of the samples `rows` (int64 [B], -1 where a row pads), each under its name."""
        if not self._columns:
            return batch
        values = (batch_values(column, rows, self._pad) for column in self._columns.values())
        more = (torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in values)
        return made(type(batch), tuple(self._columns), (*batch, *more))


@cache
def batch_type(base: Any, names: tuple[str, ...]) -> Any:
    """The named tuple `base` with `names` behind its own, a subclass of it, which can be pickled."""
    longer = namedtuple(base.__name__, (*base._fields, *names))  # type: ignore[misc]

    def reduce(batch: tuple[Any, ...]) -> tuple[Any, ...]:
        return made, (base, names, tuple(batch))

    return type(base.__name__, (base,), {**vars(longer), "__reduce__": reduce})


def made(base: Any, names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    """A batch from its values: in another process its class must be made first."""
    return batch_type(base, names)._make(values)
