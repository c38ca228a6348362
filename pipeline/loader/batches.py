"""From rows of the table to one batch: everything is planned in numbers, then the threads fill the memory."""

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
import torch

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.files.mapped_file import page_to_ask
from imagefeed.pipeline.image.decoder import new_decoder
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.image.stored import JPEG
from imagefeed.pipeline.image.turbojpeg import CORRUPT, OK, WRONG_SIZE, tell_of_pillow
from imagefeed.pipeline.jit.clib import check_numba
from imagefeed.pipeline.jit.processor import rounds_to_float16
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.kernel.fused import (
    RAISED,
    WHY,
    BatchJob,
    Normalization,
    Scratch,
    Way,
    fill,
    settle,
    write_image,
)
from imagefeed.pipeline.kernel.transform import entry_of
from imagefeed.pipeline.kernel.write import new_row_buffers
from imagefeed.pipeline.loader.batch_fields import BatchFields
from imagefeed.pipeline.loader.buffers import DTYPES, Buffers
from imagefeed.pipeline.loader.normalization import normalizations
from imagefeed.pipeline.loader.options import LoaderOptions
from imagefeed.pipeline.sampling.order import PAD
from imagefeed.pipeline.sampling.state import Cursor

# Returns once the shards of a batch are here, or once the function that it is given says that nobody wants the batch.
Wait = Callable[[Callable[[], bool]], None]
# Of some rows (int64 [n]): where their payloads begin in memory (int64 [n]), and what must be held meanwhile.
Locate = Callable[[np.ndarray], tuple[np.ndarray, object]]
PAD_LABEL = -100  # what torch's cross_entropy ignores unless told otherwise
SCRATCH_BYTES = 1 << 22  # for decoded images whose size is not known before; larger ones get memory of their own


def at_once(cancelled: Callable[[], bool]) -> None:
    """The `Wait` of shards that are here already."""


class Batch(NamedTuple):
    """One rank's part of a global batch, always `batch_size` rows (B); it is the caller's for as long as it is held.

    Rows that pad a last batch have images 0, label -100, sample id -1 and valid False. So have those of samples that
    were left out by on_error="skip", but for their ids. A loader with `fields` gives a subclass, which has them
    behind `valid`, as `dataset/fields.py` says of each type.
    """

    images: torch.Tensor  # [B, 3, S, S] for NCHW and channels_last, [B, S, S, 3] for NHWC; ten-crop: [B, 10, ...]
    labels: torch.Tensor  # int64 [B]
    sample_ids: torch.Tensor  # int64 [B]
    valid: torch.Tensor  # bool [B]


def note_skipped(skipped: list[str], failures: Mapping[int, str]) -> None:
    """Adds what failed in a batch to the list of samples that were left out, and warns of it."""
    skipped += failures.values()
    if failures:
        first = next(iter(failures.values()))
        count = "1 sample" if len(failures) == 1 else f"{len(failures)} samples"
        warnings.warn(f"left out {count} of a batch: {first}", RuntimeWarning, stacklevel=3)


class BatchLoader(Protocol):
    """What can be used as a `Loader`: our own, or one of others with our code around it (`pipeline/interop`)."""

    options: LoaderOptions
    num_samples: int  # of a whole epoch, over all ranks

    @property
    def dataset(self) -> SampleStore:
        """What the batches are of."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def peek(self) -> Cursor:
        """See `Loader.peek`."""

    def set_epoch(self, epoch: int) -> None:
        """See `Loader.set_epoch`."""

    def state_dict(self) -> dict[str, int]:
        """See `Loader.state_dict`."""

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """See `Loader.load_state_dict`."""


class BatchPlanner:
    """Makes the tasks that fill batches; it has all that they have in common. Compiles everything when it is made.

    Raises `ValueError` with the cure where the dataset does not suit the options.
    """

    def __init__(self, dataset: SampleStore, options: LoaderOptions) -> None:
        check_numba()
        if options.dtype == "float16" and not rounds_to_float16():
            raise ValueError("this processor has no float16 (F16C): choose dtype bfloat16 or float32")
        if options.makes_images:
            raise ValueError("a transform in Python makes the whole of the image, so that nothing is left to augment")
        self.dataset, self.options, self.recipe = dataset, options, options.settled
        self.with_colour, self.without_colour = normalizations(dataset, options)
        self.fields = BatchFields(dataset, options.fields or (), PAD_LABEL)
        self.buffers = Buffers(
            output_shape(options), options.dtype, num_kept=options.prefetch + 2, pinned=options.pin_memory
        )
        self._transform = entry_of(options.transform)
        self.way = Way(self._transform.address, options.verify, page_to_ask(), options.on_error == "skip")
        columns = dataset.columns
        pixels = int((columns.height.astype(np.int64) * columns.width).max())
        self.scratch_bytes = min(3 * pixels, SCRATCH_BYTES) if columns.height.all() else SCRATCH_BYTES
        with self.scratch() as scratch:
            self.plan(0, 0, np.full(options.batch_size, PAD), 0).work(scratch)

    def plan(
        self,
        seed: int,
        epoch: int,
        entries: np.ndarray,
        position: int,
        wait: Wait = at_once,
        locate: Locate | None = None,
    ) -> "BatchTask":
        """The batch of `entries` of an epoch's order (int64 [B], `PAD` at the end), yet to be filled.

        `position` is that of the first of them in the order; the threads call `wait` before they read. `locate` tells
        where payloads are that others have read already; None: in the dataset's shards.
        """
        columns, valid, samples = self.dataset.columns, entries != PAD, len(entries)
        turns, rows = np.divmod(entries, len(columns.id))

        def column(values: np.ndarray, missing: int = 0) -> np.ndarray:
            filled = np.full(samples, missing, values.dtype)
            filled[valid] = values[rows[valid]]
            return filled

        images, memory = self.memory(samples)
        ids = column(columns.id, PAD)
        job = self.job(seed, epoch, ids, position, memory)._replace(
            sizes=column(columns.size),
            kinds=column(columns.kind),
            heights=column(columns.height),
            widths=column(columns.width),
            hashes=column(columns.xxh3),
            turns=np.where(valid, turns, 0),
        )
        labels = column(columns.label.astype(np.int64), PAD_LABEL)
        rows = np.where(valid, rows, PAD)
        batch = self.fields.added(Batch(images, *map(torch.from_numpy, (labels, ids, valid))), rows)
        return BatchTask(self, job, rows, batch, wait, locate or self.dataset.payload_addresses)

    def memory(self, samples: int) -> tuple[torch.Tensor, np.ndarray]:
        """Images of unknown content as the caller sees them ([samples, ...]), and their bytes (uint8 array)."""
        if samples == self.options.batch_size:
            images, memory = self.buffers.take()
        else:
            images = torch.empty((samples, *self.buffers.shape[1:]), dtype=DTYPES[self.options.dtype].tensor)
            memory = images.view(torch.uint8).numpy()
        return in_layout(images, self.options), memory

    def job(self, seed: int, epoch: int, ids: np.ndarray, position: int, memory: np.ndarray) -> BatchJob:
        """What the kernel must know of the samples `ids` (int64 [n]) to write them to `memory`; payloads come later."""
        samples = len(ids)
        none = np.zeros(samples, np.int64)
        return BatchJob(
            seed=np.uint64(seed),
            epoch=epoch,
            claims=np.zeros(1, np.int64),
            addresses=none.copy(),
            sizes=none,
            kinds=none.astype(np.uint8),
            heights=none.astype(np.int32),
            widths=none.astype(np.int32),
            hashes=none.astype(np.uint64),
            ids=ids,
            turns=none,
            draw_key=self.recipe.draw_keys(ids, position),
            windows=np.zeros((samples, self.recipe.num_views, 5)),
            colours=np.zeros((samples, 3), np.float32),
            out=memory.reshape(samples, -1),
            states=np.zeros(samples, np.int32),
        )

    def normalization(self, epoch: int) -> Normalization:
        """What values become in an epoch."""
        return self.with_colour if self.options.has_colour(epoch) else self.without_colour

    @contextmanager
    def scratch(self) -> Iterator[Scratch]:
        """Memory for one thread, as long as the `with` lasts."""
        size = self.options.side
        yield Scratch(
            decoder=new_decoder(self.options.decoder, self.scratch_bytes // 3),
            decoded=np.empty(self.scratch_bytes, np.uint8),
            crop=np.empty((size, size, 3), np.uint8),
            row_buffers=new_row_buffers(size),
        )


class BatchTask:
    """One batch that several threads fill together: a `crew.Task`."""

    def __init__(
        self, planner: BatchPlanner, job: BatchJob, rows: np.ndarray, batch: Batch, wait: Wait, locate: Locate
    ) -> None:
        self._planner, self._job, self._rows, self._batch = planner, job, rows, batch
        self._normalization = planner.normalization(job.epoch)
        self._wait, self._locate = wait, locate
        self._locating = threading.Lock()
        self._held: object = None  # what the addresses in `job` lie in
        self._reasons: dict[int, str] = {}

    def work(self, scratch: Scratch) -> None:
        """Fills samples until none is left to begin."""
        with self._locating:  # the first thread finds out where the samples lie, the others wait for it
            if self._held is None:
                self._find()
        while True:
            left = fill(self._job, scratch, self._normalization, self._planner.way)
            if left < 0:
                return
            if self._job.states[left] == RAISED:
                self._reasons[left] = self._what_was_raised(left, scratch.crop)
            else:
                self._decode_slowly(left, scratch)

    def _find(self) -> None:
        self._wait(self.is_claimed)  # which is so, too, once this task was stopped
        if not self.is_claimed():
            valid = self._rows != PAD
            self._job.addresses[valid], self._held = self._locate(self._rows[valid])

    def is_claimed(self) -> bool:
        """Whether every sample was begun."""
        return bool(self._job.claims[0] >= len(self._rows))

    def stop(self) -> None:
        """Leaves no sample to begin."""
        self._job.claims[0] = len(self._rows)

    def result(self) -> Batch:
        """The batch, complete. Raises `ValueError` with the shard, the sample and the cure where one failed, unless
        such samples are skipped."""
        if self._job.states.any():
            failures = self.failures()
            if not self._planner.way.skip:
                raise ValueError(next(iter(failures.values())))
            for i in failures:
                self._batch.labels[i], self._batch.valid[i] = PAD_LABEL, False
            rows = np.where(self._batch.valid.numpy(), self._rows, PAD)
            return self._planner.fields.added(Batch(*self._batch[: len(Batch._fields)]), rows)
        return self._batch

    def failures(self) -> dict[int, str]:
        """The places of the samples that failed, and for each the shard, the sample and the cure."""
        states = self._job.states
        return {
            i: f"{self._planner.dataset.name(int(self._rows[i]))}: {self._reasons.get(i) or WHY[int(states[i])]}"
            for i in states.nonzero()[0].tolist()
        }

    def _decode_slowly(self, i: int, scratch: Scratch) -> None:
        """Sample `i` by way of Pillow, which knows every image format."""
        job = self._job
        try:
            image = load_rgb(bytes_at(job.addresses[i], job.sizes[i]).tobytes())
            if job.kinds[i] == JPEG:
                tell_of_pillow()
            if job.kinds[i] == JPEG and job.heights[i] > 0 and image.shape[:2] != (job.heights[i], job.widths[i]):
                job.states[i] = WRONG_SIZE
            else:
                how = self._normalization, self._planner.way.transform
                job.states[i] = write_image(image, job, i, scratch, *how)
                if job.states[i] == RAISED:
                    self._reasons[i] = self._what_was_raised(i, scratch.crop)
        except BadImage as error:
            job.states[i], self._reasons[i] = CORRUPT, f"{error}; leave it out and convert the source again"
        if job.states[i] != OK:
            settle(job, i, self._planner.way)

    def _what_was_raised(self, i: int, crop: np.ndarray) -> str:
        """The error of a user's transform: it gets `crop` (uint8 [S, S, 3]) once more, from where errors have words."""
        job, transform = self._job, self._planner.options.transform
        assert transform is not None
        try:
            transform(crop, job.seed, job.epoch, job.ids[i], job.turns[i])
        except Exception as error:
            return f"{WHY[RAISED]}, {type(error).__name__}: {error}"
        return WHY[RAISED]


def output_shape(options: LoaderOptions) -> tuple[int, ...]:
    """The shape of the images of a batch as they lie in memory, see `in_layout`."""
    samples, views, size = options.batch_size, options.settled.num_views, options.side
    image = (3, size, size) if options.layout == "NCHW" else (size, size, 3)
    return (samples, *((views,) if views > 1 else ()), *image)


def in_layout(images: torch.Tensor, options: LoaderOptions) -> torch.Tensor:
    """Images in memory as the caller sees them: for channels_last a view [..., 3, S, S] of what is [..., S, S, 3]."""
    return images.movedim(-1, -3) if options.layout == "channels_last" else images


def blank_images(options: LoaderOptions) -> torch.Tensor:
    """The images of a batch that is all padding."""
    return in_layout(torch.zeros(output_shape(options), dtype=DTYPES[options.dtype].tensor), options)
