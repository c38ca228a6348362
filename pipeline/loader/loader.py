"""Batches of a dataset, in an order and with pixels that depend on (seed, epoch) alone.

for batch in open_dataset("imagenet/train").loader(batch_size=128):
    batch.images, batch.labels, batch.sample_ids, batch.valid
"""

import threading
import weakref
from functools import partial
from typing import Any, Self

import numpy as np

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.jit.clib import libc
from imagefeed.pipeline.loader.batch_fields import BatchFields
from imagefeed.pipeline.loader.batches import PAD_LABEL, Batch, BatchPlanner, BatchTask, at_once, note_skipped
from imagefeed.pipeline.loader.options import LoaderOptions, check_mixture, num_samples_of, order_of, residency_of
from imagefeed.pipeline.loader.pairs import Pairs
from imagefeed.pipeline.loader.prefetch import Prefetcher
from imagefeed.pipeline.loader.ranks import check_process
from imagefeed.pipeline.loader.shown import name_of
from imagefeed.pipeline.loader.transformed import TransformedEpoch, blank_of
from imagefeed.pipeline.runtime.cores import cores_per_rank
from imagefeed.pipeline.runtime.crew import Crew
from imagefeed.pipeline.sampling.state import Cursor, Resumable

__all__ = ["Batch", "Loader", "LoaderOptions"]


def prefetcher_of(dataset: SampleStore, options: LoaderOptions, order: np.ndarray) -> Prefetcher | None:
    """What fetches the shards that are elsewhere ahead of the entries of `order`."""
    if dataset.cache is None:
        return None
    fetched = residency_of(dataset, options, order).among(dataset.elsewhere)
    return Prefetcher(fetched, dataset.room(fetched), dataset.shard_memory)


class Loader(Resumable):
    """Batches of one dataset; made by `Dataset.loader`.

    Each `for` is one epoch and the next `for` is the next epoch, also after a `break`. Any number of iterators and
    loaders may be alive at once; `state_dict` speaks of the one that was asked for its first batch last. `iter` raises
    `RuntimeError` in a worker of a `torch.utils.data.DataLoader` (use `num_workers=0`), and where the loader was made
    before the process group that it should have taken its rank from.
    """

    def __init__(self, dataset: SampleStore, options: LoaderOptions) -> None:
        check_mixture(dataset, options)
        self.dataset, self.options = dataset, options
        self.skipped: list[str] = []  # samples that were left out by on_error="skip", with the reasons
        if options.makes_images:
            if dataset.cache is not None:
                raise ValueError(f"{dataset.called} is elsewhere and a transform in Python needs local files: copy it")
            self._fields = BatchFields(dataset, options.fields or (), PAD_LABEL)
            self._blank = blank_of(dataset, options)
        else:
            self._planners = Planners(dataset, options)
        self.num_samples = num_samples_of(dataset, options)  # of a whole epoch, over all ranks
        super().__init__(options.seed, self.num_samples, dataset.called)
        if dataset.cache is not None:  # what cannot work is an error now
            order = order_of(dataset, options, options.seed, 0)
            dataset.room(residency_of(dataset, options, order).among(dataset.elsewhere))

    def __repr__(self) -> str:
        options = self.options
        what = "a transform" if options.makes_images else f"{options.recipe}, {options.dtype} {options.layout}"
        ranks = "" if options.world_size == 1 else f", rank {options.rank} of {options.world_size}"
        return f"Loader({name_of(self.dataset)}: {len(self):,} batches of {options.batch_size}, {what}{ranks})"

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.options.rank_slice.num_batches(self.num_samples)

    def __reduce__(self) -> tuple[Any, ...]:
        return resumed, (self.dataset, self.options, self.state_dict())  # in another process all is made anew

    def __iter__(self) -> "Epoch | TransformedEpoch":
        check_process(self.options.rank_slice, found=self.options.ranks_found)
        if self.options.makes_images:
            how = self.dataset, self.options, self._blank, self._fields
            return TransformedEpoch(*how, self, self.num_samples, self.skipped)
        return Epoch(self._planners, self, self.num_samples, self.skipped)

    def pairs(self) -> "Pairs":
        """The same epochs as pairs of images and labels, as a `DataLoader` gives them: without rows of padding.

        The fields, where there are any, follow the labels.
        """
        return Pairs(self, self.options.rank_slice, self.num_samples)


class Planners:
    """The planner of each epoch; there is one for each `crop_size`, of which the last is kept."""

    def __init__(self, dataset: SampleStore, options: LoaderOptions) -> None:
        self.dataset, self.options = dataset, options
        self._last = BatchPlanner(dataset, options.at_epoch(0))

    def at(self, epoch: int) -> BatchPlanner:
        """The planner of an epoch. Raises what `BatchPlanner` does."""
        options = self.options.at_epoch(epoch)
        if options.crop_size != self._last.options.crop_size:
            self._last = BatchPlanner(self.dataset, options)
        return self._last


def resumed(dataset: SampleStore, options: LoaderOptions, state: dict[str, int]) -> Loader:
    """A loader that stands where another one stood."""
    loader = Loader(dataset, options)
    loader.load_state_dict(state)
    return loader


def give_back() -> None:
    """Gives freed memory back to the system: glibc keeps what sorting an order took, 17 MiB for ImageNet."""
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


class Epoch:
    """One pass over what is left of an epoch of `places`; made by `iter(loader)`.

    A batch is an error if one of its samples is: `next` then raises `ValueError` with the shard, the sample and the
    cure, after the batches before it. The threads end with the epoch, on `close`, when this object is dropped, and
    when Python exits.
    """

    def __init__(self, planners: Planners, places: Resumable, num_samples: int, skipped: list[str]) -> None:
        self._planners, self._places, self._num_samples, self._skipped = planners, places, num_samples, skipped
        self._global_batch = planners.options.rank_slice.global_batch
        self._cursor: Cursor | None = None  # until the first `next`
        self._taking = threading.Lock()
        self._begin(places.peek())

    def _begin(self, cursor: Cursor) -> None:
        """Starts the threads at a place."""
        planner = self._planners.at(cursor.epoch)
        options = planner.options
        rank_slice, seed, epoch, start = options.rank_slice, cursor.seed, cursor.epoch, cursor.position
        self._begun_at = seed, epoch, start
        order = order_of(planner.dataset, options, seed, epoch)
        give_back()
        prefetcher = prefetcher_of(planner.dataset, options, order[start:])
        if prefetcher is not None:
            weakref.finalize(self, prefetcher.stop).atexit = False

        def plan(number: int) -> BatchTask:  # must not refer to `self`, which could not be collected then
            wait = at_once if prefetcher is None else partial(prefetcher.wait, number)
            position = start + number * rank_slice.global_batch
            return planner.plan(seed, epoch, rank_slice.entries(order, position), rank_slice.first(position), wait)

        self._prefetcher = prefetcher
        self._crew = Crew(
            plan,
            rank_slice.num_batches(self._num_samples, start),
            num_threads=options.num_threads or cores_per_rank(),
            ahead=options.prefetch,
            open_scratch=planner.scratch,
        )
        weakref.finalize(self, self._crew.stop).atexit = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        cursor = self._taken()
        try:
            task = self._crew.take()
            if task is not None:
                batch = task.result()
                note_skipped(self._skipped, task.failures())
                cursor.advance(self._global_batch, self._num_samples)
                return batch
        except (ValueError, RuntimeError, OSError, MemoryError):
            self.close()
            raise
        cursor.end_epoch()
        self.close()
        raise StopIteration

    def _taken(self) -> Cursor:
        """The place of this pass, which the first to ask takes."""
        with self._taking:
            if self._cursor is None:
                self._cursor = cursor = self._places.take()
                if self._begun_at != (cursor.seed, cursor.epoch, cursor.position):  # set, loaded or taken after `iter`
                    self._end()
                    self._begin(cursor)
            return self._cursor

    def close(self) -> None:
        """Ends the threads; `next` raises from then on."""
        if self._cursor is None:
            self._cursor = self._places.peek()  # any: nobody comes there
        self._end()

    def _end(self) -> None:
        if self._prefetcher is not None:
            self._prefetcher.stop()
        self._crew.close()
