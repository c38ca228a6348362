"""Batches of a dataset, in an order and with pixels that depend on (seed, epoch) alone.

for batch in Split.open("imagenet/train").loader(batch_size=128):
    batch.images, batch.labels, batch.sample_ids, batch.valid
"""

import weakref
from functools import partial
from typing import Self

import numpy as np

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.jit.clib import libc
from imagefeed.pipeline.loader.batches import Batch, BatchPlanner, BatchTask, at_once
from imagefeed.pipeline.loader.options import LoaderOptions, num_samples_of, order_of, residency_of
from imagefeed.pipeline.loader.prefetch import Prefetcher
from imagefeed.pipeline.runtime.cores import cores_per_rank
from imagefeed.pipeline.runtime.crew import Crew
from imagefeed.pipeline.sampling.state import Cursor, Resumable

__all__ = ["Batch", "Loader", "LoaderOptions"]


def prefetcher_of(dataset: Split, options: LoaderOptions, order: np.ndarray) -> Prefetcher | None:
    """What fetches the shards of a remote dataset ahead of the rows of `order`."""
    if dataset.remote is None:
        return None
    needed = residency_of(dataset, options, order)
    return Prefetcher(needed, dataset.remote.room(needed), dataset.map)


class Loader(Resumable):
    """Batches of one dataset; made by `Dataset.loader`.

    Each `for` is one epoch and the next `for` is the next epoch, also after a `break`. Any number of iterators and
    loaders may be alive at once; `state_dict` speaks of the iterator that this loader made last.
    """

    def __init__(self, dataset: Split, options: LoaderOptions) -> None:
        self.dataset, self.options = dataset, options
        self._feed = BatchPlanner(dataset, options)
        self.num_samples = num_samples_of(dataset, options)  # of a whole epoch, over all ranks
        super().__init__(options.seed, self.num_samples, str(dataset.path))
        if dataset.remote is not None:  # what cannot work is an error now
            dataset.remote.room(residency_of(dataset, options, order_of(dataset, options, options.seed, 0)))

    def __repr__(self) -> str:
        return f"Loader({str(self.dataset.path)!r}, {self.options})"

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.options.share.num_batches(self.num_samples)

    def __iter__(self) -> "Epoch":
        return Epoch(self._feed, self.begin(), self.num_samples)


def give_back() -> None:
    """Freed memory goes back to the system: glibc keeps what sorting an order took, 17 MiB for ImageNet."""
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


class Epoch:
    """One pass over what is left of an epoch, which keeps `place` up to date; made by `iter(loader)`.

    A batch is an error if one of its samples is: `next` then raises `ValueError` with the shard, the sample and the
    cure, after the batches before it. The threads end with the epoch, on `close`, when this object is dropped, and
    when Python exits.
    """

    def __init__(self, feed: BatchPlanner, place: Cursor, num_samples: int) -> None:
        options = feed.options
        share, seed, epoch, start = options.share, place.seed, place.epoch, place.position
        order = order_of(feed.dataset, options, seed, epoch)
        give_back()
        fetcher = prefetcher_of(feed.dataset, options, order[start:])
        if fetcher is not None:
            weakref.finalize(self, fetcher.stop).atexit = False

        def plan(number: int) -> BatchTask:  # knows nothing of `self`, which could not be collected otherwise
            wait = at_once if fetcher is None else partial(fetcher.wait, number)
            position = start + number * share.global_batch
            return feed.plan(seed, epoch, share.places(order, position), share.first(position), wait)

        self._place, self._num_samples, self._step = place, num_samples, share.global_batch
        self._fetcher = fetcher
        self._crew = Crew(
            plan,
            share.num_batches(num_samples, start),
            num_threads=options.num_threads or cores_per_rank(),
            ahead=options.prefetch,
            open_bench=feed.bench,
        )
        weakref.finalize(self, self._crew.stop).atexit = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        place = self._place
        try:
            task = self._crew.take()
            if task is not None:
                batch = task.result()
                place.advance(self._step, self._num_samples)
                return batch
        except (ValueError, RuntimeError, OSError, MemoryError):
            self.close()
            raise
        place.end_epoch()
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Ends the threads; `next` raises from then on."""
        if self._fetcher is not None:
            self._fetcher.stop()
        self._crew.close()
