"""What a loader of others needs around it to be used as our `Loader`."""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
import torch

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.loader.batch_fields import BatchFields
from imagefeed.pipeline.loader.batches import PAD_LABEL, Batch, blank_images
from imagefeed.pipeline.loader.options import LoaderOptions, num_samples_of
from imagefeed.pipeline.loader.ranks import check_process
from imagefeed.pipeline.runtime.in_turn import InTurn
from imagefeed.pipeline.sampling.order import PAD
from imagefeed.pipeline.sampling.state import Resumable


def one_split(dataset: SampleStore, who: str) -> Split:
    """The dataset, which must be one split. Raises `ValueError` with the cure where several were joined."""
    if isinstance(dataset, Split):
        return dataset
    raise ValueError(f"{who} reads one dataset and {dataset.called} is several: use imagefeed's own loader")


class OtherLoader(Resumable, ABC):
    """Batches of one dataset by somebody else's loader, with a `Loader`'s length, state and batches.

    One iterator at a time. Raises `ValueError` where the dataset or an option is not for this loader.
    """

    name: str  # as messages and options have it
    format: str  # of the shards that it reads

    def __init__(self, dataset: Split, options: LoaderOptions) -> None:
        self.dataset, self.options = dataset, options
        if dataset.manifest.format != self.format:
            raise ValueError(
                f"{dataset.path} is in {dataset.manifest.format}s and the loader {self.name} reads {self.format}s: "
                f"`imagefeed repack {shlex.quote(str(dataset.path))} OUT --format {self.format}` writes them without "
                "encoding anything anew"
            )
        if dataset.remote is not None:
            raise ValueError(f"{dataset.source} is elsewhere and the loader {self.name} reads local files: copy it")
        for name, given in {
            "per_class": options.per_class is not None,
            "on_error='skip'": options.on_error == "skip",
            "a transform in Python": options.makes_images,
        }.items():
            if given:
                raise ValueError(f"{name} is not for the loader {self.name}: use imagefeed")
        self._fields = BatchFields(dataset, options.fields or (), PAD_LABEL)
        self.num_samples = num_samples_of(dataset, options)  # of a whole epoch, over all ranks
        super().__init__(options.seed, self.num_samples, str(dataset.path))

    @abstractmethod
    def __len__(self) -> int:
        """Batches of a whole epoch, the same on all ranks."""

    @abstractmethod
    def batches(self, seed: int, epoch: int, position: int) -> Generator[Batch, None, None]:
        """This rank's batches of what is left of an epoch from `position`."""

    def __iter__(self) -> Iterator[Batch]:
        check_process(self.options.rank_slice, found=self.options.ranks_found)
        return InTurn(self._epoch())

    def _epoch(self) -> Generator[Batch, None, None]:
        cursor = self.take()
        with closing(self.batches(cursor.seed, cursor.epoch, cursor.position)) as batches:
            for batch in batches:
                cursor.advance(self.options.rank_slice.global_batch, self._most)
                yield batch
        cursor.end_epoch()

    def padded(self, images: torch.Tensor | None, rows: np.ndarray) -> Batch:
        """A whole batch [B, ...] of `images` [n, ...] (None for none) that are the rows of the table `rows`."""
        missing = self.options.batch_size - len(rows)
        columns = self.dataset.columns
        if images is None or missing:
            whole = blank_images(self.options)
            if images is not None:
                whole[: len(rows)] = images
            images = whole

        def column(values: np.ndarray, fill: int) -> torch.Tensor:
            return torch.from_numpy(np.concatenate([values.astype(np.int64), np.full(missing, fill)]))

        valid = torch.arange(self.options.batch_size) < len(rows)
        batch = Batch(images, column(columns.label[rows], PAD_LABEL), column(columns.id[rows], PAD), valid)
        return self._fields.added(batch, np.concatenate([rows, np.full(missing, PAD)]))
