"""For a stock WebDataset pipeline: a stage that counts what the tars should hold, and our augmentation as a map stage.

    pipeline = (
        webdataset.WebDataset(urls_of(train), shardshuffle=100)
        .compose(Count(train))
        .shuffle(1000)
        .batched(128, collation_fn=list)
        .map(Augment(train, LoaderOptions(recipe="alexnet", batch_size=128), epoch=0))
    )

WebDataset 1.0.2 takes a tar that is cut short, or of which a header is damaged, for a shorter one.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.formats.webdataset import IMAGES
from imagefeed.pipeline.interop.base import one_split
from imagefeed.pipeline.loader.batches import Batch, BatchPlanner
from imagefeed.pipeline.loader.options import LoaderOptions
from imagefeed.pipeline.sampling.order import PAD

ROW = "__row__"  # what `Count` adds to a sample: its row in the dataset's table
Sample = dict[str, Any]
CURE = "the tar is damaged, restore it or convert the source again"


def urls_of(dataset: SampleStore) -> list[str]:
    """The shards, as WebDataset is to be given them. Raises `ValueError` where several datasets were joined."""
    split = one_split(dataset, "WebDataset")
    return [str(split.path / shard.name) for shard in split.manifest.shards]


class Count:
    """A stage right behind `WebDataset`, before any shuffling: raises `ValueError` unless each tar gives what it holds.

    Each sample must be the next one of its shard in the table, by its key. It is passed on with its row under `ROW`.
    """

    def __init__(self, dataset: Split) -> None:
        self._dataset = dataset
        self._shards = {url: number for number, url in enumerate(urls_of(dataset))}

    @cached_property
    def _rows(self) -> list[np.ndarray]:
        """The rows of each shard, in the order of its payloads."""
        columns = self._dataset.columns
        ordered = np.lexsort((columns.offset, columns.shard))
        return np.split(ordered, np.searchsorted(columns.shard[ordered], np.arange(1, len(self._shards))))

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples, with their rows."""
        keys = self._dataset.samples["key"]
        url, rows, at = "", np.zeros(0, np.int64), 0
        for sample in samples:
            if sample["__url__"] != url or at == len(rows):  # the same tar may come again
                self._check_end(url, len(rows) - at)
                url, at = sample["__url__"], 0
                if url not in self._shards:
                    raise ValueError(f"{url} is no shard of {self._dataset.path}")
                rows = self._rows[self._shards[url]]
            key = keys[int(rows[at])].as_py()
            if sample["__key__"] != key:
                raise ValueError(f"{url}: WebDataset gave sample {sample['__key__']} and not {key}: {CURE}")
            yield {**sample, ROW: int(rows[at])}
            at += 1
        self._check_end(url, len(rows) - at)

    def _check_end(self, url: str, missing: int) -> None:
        if missing:
            raise ValueError(f"{url}: WebDataset lost the last {missing} samples: {CURE}")


class Augment:
    """A map stage: lists of samples that passed `Count`, at most `batch_size` long, become whole batches.

    Decoding, augmentation and checks of hashes are those of our own loader, to the bit, in the one thread that calls.
    Raises `ValueError` with shard and sample where one is damaged.
    """

    def __init__(self, dataset: Split, options: LoaderOptions, epoch: int = 0, seed: int | None = None) -> None:
        if options.settled.chunk > 1:
            raise ValueError(
                f"the recipe {options.recipe} depends on the order of all samples, which WebDataset does not have"
            )
        self._dataset, self._options = dataset, options
        self._epoch, self._seed = epoch, options.seed if seed is None else seed

    def __reduce__(self) -> tuple[Any, ...]:
        return Augment, (self._dataset, self._options, self._epoch, self._seed)

    @cached_property
    def planner(self) -> BatchPlanner:
        """Compiled when first asked for, in the process that asks."""
        return BatchPlanner(self._dataset, self._options)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """The batch of `samples`, padded to `batch_size`."""
        rows = np.array([sample[ROW] for sample in samples], np.int64)
        payloads = [np.frombuffer(self._payload(sample), np.uint8) for sample in samples]
        entries = np.concatenate([rows, np.full(self._options.batch_size - len(rows), PAD)])

        def locate(rows: np.ndarray) -> tuple[np.ndarray, object]:
            for row, payload in zip(rows, payloads, strict=True):
                if payload.size != self._dataset.columns.size[row]:
                    raise ValueError(f"{self._dataset.name(int(row))}: has {payload.size} bytes: {CURE}")
            return np.array([payload.ctypes.data for payload in payloads], np.int64), payloads

        task = self.planner.plan(self._seed, self._epoch, entries, 0, locate=locate)
        with self.planner.scratch() as scratch:
            task.work(scratch)
        return task.result()

    def _payload(self, sample: Sample) -> bytes:
        """The image of a sample: what it has beside its label and what WebDataset notes."""
        images = [name for name in sample if not name.startswith("__") and name in IMAGES]
        if len(images) != 1:
            raise ValueError(f"{sample['__url__']}: sample {sample['__key__']} has no image, or several: {CURE}")
        payload: bytes = sample[images[0]]
        return payload
