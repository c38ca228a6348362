"""For FFCV: our augmentation as an `Operation`, a decoder that checks, and a stock loader that cannot hang.

    augment = Augment(train, LoaderOptions(recipe="alexnet", batch_size=128, dtype="float16", layout="NHWC"))
    loader = SafeLoader("train.beton", 128, pipelines={"image": [Decode(train), augment], "label": None})
    for epoch in range(90):
        augment.begin(epoch)
        for (images,) in loader:
            ...

FFCV 1.0.2 decodes what is damaged without a word, dies silently in its thread while the caller waits for ever, and
alters one of Numba's own types. Each is mended here, beside the code that it is about.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from queue import Full
from typing import Any

import ffcv.loader.loader as stock
import numba
import numpy as np
import torch
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.memory_managers import OSCacheManager
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from numba import njit, types

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.image.stored import RAW
from imagefeed.pipeline.image.turbojpeg import CURE, FOUND, OK, WRONG_SIZE, decode_rgb
from imagefeed.pipeline.interop.base import one_split
from imagefeed.pipeline.interop.threads import threads_unchanged
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.kernel.fused import ALTERED, WHY
from imagefeed.pipeline.loader.augmenter import Augmenter
from imagefeed.pipeline.loader.options import LoaderOptions

READ_ONLY = types.Array(types.uint8, 1, "C", readonly=True)


class ReadOnlyCache(OSCacheManager):
    """FFCV's map of the file, typed as what it is. Its own way, to write into Numba's type of all byte arrays, makes
    whatever is compiled afterwards in the process hang (see `clib.check_numba`)."""

    @property
    def state_type(self) -> types.Tuple:
        """Of the file's bytes, and the pointers and sizes of the payloads."""
        return types.Tuple([READ_ONLY, types.uint64[::1], types.uint64[::1]])

    def compile_reader(self) -> Callable[..., np.ndarray]:
        """The function that finds a payload by its address."""

        def read(address: int, state: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
            size = state[2][np.searchsorted(state[1], address)]
            return state[0][address : address + size]

        return Compiler.compile(read, READ_ONLY(types.uint64, self.state_type))


stock.OSCacheManager = ReadOnlyCache  # for every loader made from here on, a stock one too


def beton_rows(dataset: SampleStore) -> np.ndarray:
    """For each sample of one beton that holds the dataset, in its order: the row of the table, int64 [n].

    Raises `ValueError` where several datasets were joined.
    """
    columns = one_split(dataset, "FFCV").columns
    return np.lexsort((columns.offset, columns.shard))


class Decode(SimpleRGBImageDecoder):
    """Images of one size, uint8 [n, H, W, 3], and what became of each, int32 [n]; `Augment` comes next.

    Payloads are compared with their hashes, and what libjpeg-turbo warns of counts: FFCV's own decoder leaves another
    image in the place of one that fails. Accurate inverse DCT, so the pixels are ours and not FFCV's.
    """

    def __init__(self, dataset: SampleStore) -> None:
        super().__init__()
        if not FOUND:
            raise ValueError(f"FFCV's images are decoded by libjpeg-turbo, which is not on this machine: {CURE}")
        self._hashes = np.ascontiguousarray(dataset.columns.xxh3[beton_rows(dataset)])

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, tuple[AllocationQuery, ...]]:
        """Room for the images and their states. Raises `TypeError` where the images have several sizes."""
        state, images = super().declare_state_and_memory(previous_state)
        return state, (images, AllocationQuery((), np.dtype(np.int32)))

    def generate_code(self) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        """What FFCV compiles."""
        read, over, hashes = self.memory_read, Compiler.get_iterator(), self._hashes.ctypes.data

        def decode(indices: Any, memory: Any, metadata: Any, storage: Any) -> tuple[np.ndarray, np.ndarray]:
            images, states = memory
            for i in over(len(indices)):
                sample = metadata[indices[i]]
                payload = read(sample["data_ptr"], storage)
                expected = bytes_at(hashes + 8 * int(indices[i]), 8).view(np.uint64)[0]
                states[i] = decode_checked(payload, expected, sample["mode"], images[i])
            return images[: len(indices)], states[: len(indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode


@njit(nogil=True)
def decode_checked(payload: np.ndarray, expected: int, mode: int, out: np.ndarray) -> int:
    """One payload (uint8 [bytes]) into `out` (uint8 [H, W, 3]); returns its state. `expected` is its XXH3, or 0."""
    if expected != 0 and xxh3_64(payload) != expected:
        return ALTERED
    if mode == RAW:
        if payload.size != out.size:
            return WRONG_SIZE
        out.reshape(out.size)[:] = payload
        return OK
    return decode_rgb(payload, out)


class Augment(Operation):
    """Crop, mirror, colour, mean, type and layout, as `options` say: the same bits as from our own loader.

    It follows a decoder: `Decode`, or one of FFCV's, which check nothing. The batch that comes out is the caller's: its
    memory is not used again while it is held. `begin` must be called before each epoch: FFCV does not tell an operation
    which one it is.
    """

    def __init__(self, dataset: SampleStore, options: LoaderOptions) -> None:
        super().__init__()
        self._augmenter, self._dataset = Augmenter(dataset, options), dataset
        self._rows = beton_rows(dataset)
        self.begin(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image as it comes out."""
        return self._augmenter.shape

    def begin(self, epoch: int, position: int = 0, seed: int | None = None) -> None:
        """The batches that follow are of `epoch`, from `position` (samples over all ranks) on.

        Only alexnet-2012 needs the position. `seed` replaces that of the options.
        """
        self._epoch, self._position, self._seed = epoch, position, seed

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """Python, and memory of its own."""
        dtype = getattr(torch, self._augmenter.options.dtype)
        return replace(previous_state, jit_mode=False, shape=self._augmenter.shape, dtype=dtype), None

    def generate_code(self) -> Callable[..., torch.Tensor]:
        """What FFCV calls. Raises `ValueError` with the sample where one is damaged."""
        rank_slice = self._augmenter.options.rank_slice

        def augment(decoded: Any, memory: None, indices: np.ndarray) -> torch.Tensor:
            rows = self._rows[indices]
            images, states = decoded if isinstance(decoded, tuple) else (decoded, np.zeros(len(rows)))
            if states.any():
                first = int(states.nonzero()[0][0])
                raise ValueError(f"{self._dataset.name(int(rows[first]))}: {WHY[int(states[first])]}")
            if self._position >= len(self._rows):
                raise ValueError(f"epoch {self._epoch} is over: call begin(epoch) of Augment before each epoch")
            position, self._position = rank_slice.first(self._position), self._position + rank_slice.global_batch
            ids = self._dataset.columns.id[rows]
            return self._augmenter(images, ids, self._epoch, position, seed=self._seed)

        augment.with_indices = True  # type: ignore[attr-defined]
        return augment


class SafeIterator(EpochIterator):
    """FFCV's epoch, which raises what its thread raised, where its own waits for ever; and ends when it is closed."""

    failure: BaseException | None = None
    ended = False

    def run(self) -> None:
        """The thread."""
        try:
            super().run()
        except BaseException as error:
            self.failure = error
            while not self.terminate_event.is_set():
                try:
                    self.output_queue.put(None, timeout=0.5)
                    break
                except Full:  # the batches before it come first
                    continue

    def __next__(self) -> tuple[Any, ...]:
        if self.ended:
            raise StopIteration
        try:
            return super().__next__()
        except StopIteration:
            self.ended = True
            if self.failure is not None:
                raise self.failure from None
            raise

    def close(self) -> None:
        """Ends the thread, after the batch that it is at."""
        super().close()
        self.closed = True
        if self.is_alive() and threading.current_thread() is not self:
            self.join()


class SafeLoader(Loader):
    """A stock loader that raises what goes wrong, ends on `break`, and leaves the process's numbers of threads alone.

    It takes the same arguments. `num_workers` above what Numba was started with is brought down to that.
    """

    def __init__(self, fname: str, batch_size: int, num_workers: int = -1, **others: Any) -> None:
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        with threads_unchanged():
            super().__init__(fname, batch_size, min(num_workers, most) if num_workers > 0 else most, **others)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        order = self.next_traversal_order()[: len(self) * self.batch_size]
        self.next_epoch += 1
        return self.over(order)

    def over(self, order: Sequence[int] | np.ndarray) -> Iterator[tuple[Any, ...]]:
        """Batches of the samples of the file that `order` names, in this order."""
        with ExitStack() as stack:
            with threads_unchanged():
                Compiler.set_num_threads(self.num_workers)
                batches = stack.enter_context(closing(SafeIterator(self, order)))
                first = next(batches, None)  # by then its thread has set the numbers, too
            if first is not None:
                yield first
                yield from batches
