"""From rows of the table to one batch: everything is planned in numbers, then the threads fill the memory."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from pipeline.augment import both_means
from pipeline.buffers import Buffers
from pipeline.dataset import Dataset, open_dataset
from pipeline.fused import WHY, Bench, Job, fill
from pipeline.intrinsics import rounds_to_float16
from pipeline.mapping import Mapping, page_to_ask
from pipeline.native import check_numba, tj_close, tj_open
from pipeline.recipes import RECIPES, choose, colour_basis, fixed_views
from pipeline.sampling import PAD

if TYPE_CHECKING:
    from pipeline.loader import LoaderOptions

# Returns once the shards of a batch are here, or once what it is given says that nobody wants the batch any more.
Wait = Callable[[Callable[[], bool]], None]
PAD_LABEL = -100  # what torch's cross_entropy ignores unless told otherwise


def at_once(given_up: Callable[[], bool]) -> None:
    """The `Wait` of shards that are here already."""


class Batch(NamedTuple):
    """One rank's part of a global batch, always `batch_size` rows (B); it is the caller's for as long as it is held.

    Rows that pad a last batch have images 0, label -100, sample id -1 and valid False.
    """

    images: torch.Tensor  # [B, 3, S, S] for NCHW or [B, S, S, 3] for NHWC; ten-crop: [B, 10, ...]
    labels: torch.Tensor  # int64 [B]
    sample_ids: torch.Tensor  # int64 [B]
    valid: torch.Tensor  # bool [B]


class Feed:
    """What all batches of a loader have in common. Everything is compiled here, in the caller's thread.

    Raises `ValueError` with the cure where the dataset does not suit the options.
    """

    def __init__(self, dataset: Dataset, options: "LoaderOptions") -> None:
        check_numba()
        if options.dtype == "float16" and not rounds_to_float16():
            raise ValueError("this processor has no float16 (F16C): choose dtype bfloat16 or float32")
        self.dataset, self.options = dataset, options
        self.image_shape = image_shape(dataset)
        self.room, self.fixed = room_and_views(dataset, options, self.image_shape)
        mean_image, self.basis = normalisation(dataset, options, self.image_shape)
        self.means = both_means(mean_image, planes=options.layout == "NCHW")
        self.written_shape, shape = output_shapes(options)
        self.buffers = Buffers(shape, options.dtype, num_kept=options.prefetch + 2, pinned=options.pin_memory)
        self.raw = dataset.manifest.storage.encoding == "raw"
        self.page = page_to_ask()
        with self.bench() as bench:
            self.plan(0, 0, np.full(options.batch_size, PAD)).work(bench)

    def plan(self, seed: int, epoch: int, rows: np.ndarray, wait: Wait = at_once) -> "BatchTask":
        """The batch of `rows` (int64 [B], `PAD` in places), yet to be filled; its threads `wait` for its shards."""
        valid = rows != PAD
        columns = self.dataset.columns
        ids, sizes, hashes, addresses = (
            np.zeros(len(rows), kind) for kind in (np.int64, np.int64, np.uint64, np.int64)
        )
        ids[:] = PAD
        labels = np.full(len(rows), PAD_LABEL)
        used = rows[valid]
        ids[valid], labels[valid] = columns.id[used], columns.label[used]
        sizes[valid], hashes[valid] = columns.size[used], columns.xxh3[used]
        views, colours = choose(np.uint64(seed), epoch, ids, self.room, self.fixed, self.basis)
        images, memory = self.buffers.take()
        job = Job(
            claims=np.zeros(1, np.int64),
            addresses=addresses,
            sizes=sizes,
            hashes=hashes,
            views=views,
            colours=colours,
            means=self.means,
            out=memory.reshape(self.written_shape),
            states=np.zeros(len(rows), np.int32),
        )
        batch = Batch(images, *map(torch.from_numpy, (labels, ids, valid)))
        return BatchTask(self, job, rows, batch, wait)

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """What one thread works with."""
        decoder, row = tj_open(), 3 * self.options.crop_size
        if decoder == 0:
            raise MemoryError("libturbojpeg has no memory for a decoder")
        try:
            yield Bench(
                decoder, np.empty(self.image_shape, np.uint8), np.empty(row, np.uint8), np.empty(row, np.float32)
            )
        finally:
            tj_close(decoder)


class BatchTask:
    """One batch in the making, which several threads may work at; the `workers.Task` of this pipeline."""

    def __init__(self, feed: Feed, job: Job, rows: np.ndarray, batch: Batch, wait: Wait) -> None:
        self._feed, self._job, self._rows, self._batch = feed, job, rows, batch
        self._wait = wait
        self._locating = threading.Lock()
        self._maps: list[Mapping] | None = None  # held: the addresses in `job` are theirs

    def work(self, bench: Bench) -> None:
        """Fills samples until none is left to begin."""
        with self._locating:  # the first thread finds out where the samples lie, the others wait for it
            if self._maps is None:
                self._locate()
        fill(self._job, bench, self._feed.raw, self._feed.options.verify, self._feed.page)

    def _locate(self) -> None:
        self._wait(self.is_claimed)  # it is, without anybody's work, once this task was stopped
        if not self.is_claimed():
            valid = self._rows != PAD
            self._job.addresses[valid], self._maps = self._feed.dataset.maps(self._rows[valid])

    def is_claimed(self) -> bool:
        """Whether every sample was begun."""
        return bool(self._job.claims[0] >= len(self._rows))

    def stop(self) -> None:
        """Leaves no sample to begin."""
        self._job.claims[0] = len(self._rows)

    def result(self) -> Batch:
        """The batch, complete. Raises `ValueError` with the shard, the sample and the cure where one failed."""
        states = self._job.states
        if states.any():
            first = int(states.nonzero()[0][0])
            raise ValueError(f"{self._feed.dataset.name(int(self._rows[first]))}: {WHY[int(states[first])]}")
        return self._batch


def image_shape(dataset: Dataset) -> tuple[int, int, int]:
    """The shape of every stored image, (height, width, 3). Raises `ValueError` where they are not all of one size."""
    columns = dataset.columns
    for name, sides in (("height", columns.height), ("width", columns.width)):
        if (sides != sides[0]).any():
            odd = dataset.name(int((sides != sides[0]).argmax()))
            raise ValueError(f"{odd} has another {name} than the first sample: convert with one size for all")
    return int(columns.height[0]), int(columns.width[0]), 3


def room_and_views(
    dataset: Dataset, options: "LoaderOptions", shape: tuple[int, int, int]
) -> tuple[tuple[int, int], np.ndarray]:
    """How far the window may move down and right, pixels, and the views that are fixed (int32 [V, 3])."""
    room = shape[0] - options.crop_size, shape[1] - options.crop_size
    if min(room) < 0:
        raise ValueError(f"{dataset.path} stores images of {shape[0]}x{shape[1]}: choose a smaller crop_size")
    return room, fixed_views(RECIPES[options.recipe], room)


def normalisation(
    dataset: Dataset, options: "LoaderOptions", shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The mean image (float32 [H, W, 3]) and the basis of the colours (float64 [3, 3]); zeros where not wanted."""
    nothing = np.zeros((3, 3))
    if options.dtype == "uint8":
        return np.zeros(shape, np.float32), nothing
    source = statistics_source(dataset, options)
    if source.mean_image.shape != shape:
        raise ValueError(f"{source.path} has images of another size than {dataset.path}: use statistics of its own")
    return source.mean_image, colour_basis(source.statistics) if RECIPES[options.recipe].colour else nothing


def statistics_source(dataset: Dataset, options: "LoaderOptions") -> Dataset:
    """The split whose mean image and statistics are used: the one asked for, or the training split."""
    if options.statistics is not None:
        return open_dataset(options.statistics)
    if dataset.manifest.split == "train":
        return dataset
    beside = dataset.beside("train")
    if beside is None:
        raise ValueError(
            f"{dataset.path} is not a training split and there is no 'train' beside it: "
            "say with `statistics` which split's mean image to use"
        )
    return beside


def output_shapes(options: "LoaderOptions") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of the images of a batch as `fill` writes them and as the caller sees them."""
    samples, views, size = options.batch_size, RECIPES[options.recipe].num_views, options.crop_size
    seen_views = (views,) if views > 1 else ()
    if options.layout == "NCHW":
        return (samples, views, 3, size, size), (samples, *seen_views, 3, size, size)
    return (samples, views, size, 3 * size), (samples, *seen_views, size, size, 3)
