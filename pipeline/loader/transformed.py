"""Epochs whose images a Python function makes: a transform of torchvision's, for example.

Order, ranks and state are those of the kernel's epochs. The function is called in worker processes of a
`torch.utils.data.DataLoader`, for each image with torch's, NumPy's and Python's generators seeded anew from (seed,
epoch, sample id, turn): so what it makes does not depend on who calls it, or when.
"""

import random
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.loader.batch_fields import BatchFields
from imagefeed.pipeline.loader.batches import PAD_LABEL, Batch, note_skipped
from imagefeed.pipeline.loader.options import LoaderOptions, order_of, rows_of
from imagefeed.pipeline.loader.stored_images import StoredImages
from imagefeed.pipeline.runtime.cores import cores_per_rank
from imagefeed.pipeline.runtime.executors import shared_memory
from imagefeed.pipeline.sampling.order import PAD
from imagefeed.pipeline.sampling.rng import OWN, draw
from imagefeed.pipeline.sampling.state import Cursor, Resumable


class Blank(NamedTuple):
    """What images are like."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def images(self, count: int) -> torch.Tensor:
        """`count` black ones."""
        return torch.zeros((count, *self.shape), dtype=self.dtype)


class Made(NamedTuple):
    """The images of a batch as a worker gives them."""

    images: torch.Tensor  # [n, ...]
    failures: dict[int, str]  # place in the batch -> shard, sample and what happened


class Images:
    """Makes the images of entries: what a DataLoader takes for a dataset. Every worker has a copy."""

    def __init__(
        self, dataset: SampleStore, options: LoaderOptions, seed: int, epoch: int, blank: Blank | None
    ) -> None:
        self._dataset, self._options, self._seed, self._epoch = dataset, options, seed, epoch
        self._blank = blank
        self._stored: StoredImages | None = None

    def __getitems__(self, entries: np.ndarray) -> Made:
        """The images of `entries` (int64 [n], see `sampling.order`); a DataLoader calls it with all of a batch."""
        assert self._blank is not None
        images, failures = [], {}
        for i, entry in enumerate(entries.tolist()):
            try:
                images.append(self.make(entry))
            except Exception as error:
                images.append(self._blank.images(1)[0])
                failures[i] = str(error)
                if self._options.on_error == "raise":
                    break
        # In a worker this stacks them in memory that is shared: then nothing is copied on the way.
        return Made(default_collate(images) if images else self._blank.images(0), failures)

    def make(self, entry: int) -> torch.Tensor:
        """The image of one entry. Raises `ValueError` with shard, sample and reason."""
        if self._stored is None:
            self._stored = StoredImages(self._dataset, self._options.decoder, self._options.verify)
        turn, row = divmod(entry, len(self._dataset))
        image = torch.from_numpy(self._stored(row)).permute(2, 0, 1).contiguous()  # transforms take half the time then
        words = draw(np.uint64(self._seed), self._epoch, int(self._dataset.columns.id[row]), OWN, turn)
        seed_all([int(word) for word in words])
        transform = self._options.transform
        assert transform is not None
        try:
            made = transform(image)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"line {last.lineno} of {last.filename}"
            raise ValueError(
                f"{self._dataset.name(row)}: the transform raised {type(error).__name__}: {error} ({where})"
            ) from error
        if not isinstance(made, torch.Tensor):
            raise ValueError(
                f"{self._dataset.name(row)}: the transform must give a tensor, not a {type(made).__name__}"
            )
        if self._blank is not None and (tuple(made.shape), made.dtype) != self._blank:
            raise ValueError(
                f"{self._dataset.name(row)}: the transform gave {made.dtype} {list(made.shape)}, and for the first "
                f"sample {self._blank.dtype} {list(self._blank.shape)}: all must be alike"
            )
        return made


def seed_all(words: list[int]) -> None:
    """Seeds the generators of torch (on the CPU), NumPy and Python with four words of 32 bits."""
    torch.default_generator.manual_seed(words[0] << 32 | words[1])
    np.random.seed(words[2])  # noqa: NPY002 - the one that transforms of others use
    random.seed(words[3])


@contextmanager
def generators_unchanged() -> Iterator[None]:
    """Puts the generators that `seed_all` seeds back to where they were."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


def blank_of(dataset: SampleStore, options: LoaderOptions) -> Blank:
    """What the transform makes of the first sample. Raises `ValueError` where it makes nothing of it."""
    first = int(np.arange(len(dataset))[rows_of(dataset, options)][0])
    with generators_unchanged():
        image = Images(dataset, options, options.seed, 0, None).make(first)
    return Blank(tuple(image.shape), image.dtype)


def as_it_is(made: Any) -> Any:
    """What a DataLoader does with the images of a batch."""
    return made


class TransformedEpoch:
    """One pass over what is left of an epoch of `places`; made by `iter(loader)`.

    The processes begin with the first `next`, and end with the epoch, on `close` and when this object is dropped. Of
    several threads that ask, one is served at a time.
    """

    def __init__(
        self,
        dataset: SampleStore,
        options: LoaderOptions,
        blank: Blank,
        fields: BatchFields,
        places: Resumable,
        num_samples: int,
        skipped: list[str],
    ) -> None:
        self._dataset, self._options, self._blank, self._fields = dataset, options, blank, fields
        self._places, self._num_samples, self._skipped = places, num_samples, skipped
        self._cursor: Cursor | None = None  # until the first `next`
        self._batches: Iterator[tuple[np.ndarray, Made]] | None = None
        self._serving = threading.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        with self._serving:
            return self._next()

    def _next(self) -> Batch:
        if self._cursor is None:
            self._cursor = self._places.take()
            self._batches = self._begin(self._cursor)
        cursor, rank_slice = self._cursor, self._options.rank_slice
        if self._batches is None:
            raise StopIteration
        try:
            entries, made = next(self._batches)
            batch = self._batch(entries, made)
        except StopIteration:
            cursor.end_epoch()
            self.close()
            raise
        except Exception:
            self.close()
            raise
        cursor.advance(rank_slice.global_batch, self._num_samples)
        return batch

    def close(self) -> None:
        """Ends the processes; `next` raises from then on."""
        if self._cursor is None:
            self._cursor = self._places.peek()  # any: nobody comes there
        self._batches = None

    def _begin(self, cursor: Cursor) -> Iterator[tuple[np.ndarray, Made]]:
        """The images of each batch, with the entries that they were made of."""
        options, start = self._options, cursor.position
        rank_slice = options.rank_slice
        order = order_of(self._dataset, options, cursor.seed, cursor.epoch)
        count = rank_slice.num_batches(self._num_samples, start)
        batches = [rank_slice.entries(order, start + number * rank_slice.global_batch) for number in range(count)]
        wanted = [entries[entries != PAD] for entries in batches]
        num_workers = max(1, min(options.num_threads or cores_per_rank(), count))
        images = Images(self._dataset, options, cursor.seed, cursor.epoch, self._blank)
        loader: Any = DataLoader(
            images,  # type: ignore[arg-type]
            batch_sampler=wanted,
            num_workers=num_workers,
            prefetch_factor=-(-options.prefetch // num_workers) + 1,
            collate_fn=as_it_is,
            pin_memory=options.pin_memory,
        )
        with shared_memory():
            return zip(batches, loader, strict=True)

    def _batch(self, entries: np.ndarray, made: Made) -> Batch:
        """A whole batch, or `ValueError` for the first sample of it that failed."""
        options, columns = self._options, self._dataset.columns
        if made.failures and options.on_error == "raise":
            raise ValueError(next(iter(made.failures.values())))
        note_skipped(self._skipped, made.failures)
        valid, images = entries != PAD, made.images
        rows = entries[valid] % len(self._dataset)
        labels, ids = np.full(len(entries), PAD_LABEL), np.full(len(entries), PAD)
        labels[valid], ids[valid] = columns.label[rows], columns.id[rows]
        failed = list(made.failures)
        labels[failed], valid[failed] = PAD_LABEL, False
        if len(images) < len(entries):
            images = torch.cat([images, self._blank.images(len(entries) - len(images))])
        batch = Batch(images, torch.from_numpy(labels), torch.from_numpy(ids), torch.from_numpy(valid))
        return self._fields.added(batch, np.where(valid, entries % len(self._dataset), PAD))
