"""Batches on the device before they are asked for.

    loader = train.loader(batch_size=1024, dtype="float16", layout="NHWC", pin_memory=True)
    for batch in to_device(loader, "cuda"):
        ...

Copies from pinned memory run on a stream of their own, while the device is at the batch before.
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from typing import Any, NamedTuple, Self

import torch

from imagefeed.pipeline.loader.batches import Batch, BatchLoader
from imagefeed.pipeline.loader.device_normalize import DeviceNormalize
from imagefeed.pipeline.loader.pairs import Pairs
from imagefeed.pipeline.runtime.in_turn import InTurn
from imagefeed.pipeline.sampling.state import Cursor


def to_device(
    loader: BatchLoader, device: str | torch.device, *, finish: str | None = None, ahead: int = 1
) -> "DeviceLoader":
    """The batches of `loader`, on `device`; `ahead` of them are being copied while the caller has one.

    `finish` is the type ("float32", "float16", "bfloat16") in which uint8 batches are completed there, with mean and
    colour, to the values that the loader itself would give; None leaves images as they come. On a CPU nothing is
    copied. Raises `ValueError` where the loader's options do not suit `finish`.
    """
    return DeviceLoader(loader, torch.device(device), finish, ahead)


class Sent(NamedTuple):
    """A batch under way."""

    batch: Batch
    arrived: torch.cuda.Event | None
    state: dict[str, int]  # of a loader that has handed it out


def sent_to(device: torch.device, part: Any) -> Any:
    """A part of a batch on the device; text, a list, stays on the host."""
    return part.to(device, non_blocking=True) if isinstance(part, torch.Tensor) else part


class DeviceLoader:
    """A loader as `to_device` makes it; length, epochs and state are those of the loader that it was made of."""

    def __init__(self, loader: BatchLoader, device: torch.device, finish: str | None = None, ahead: int = 1) -> None:
        if ahead < 1:
            raise ValueError(f"ahead must be at least 1, not {ahead}")
        self.loader, self.device, self._ahead = loader, device, ahead
        self._finish = None if finish is None else DeviceNormalize(loader, finish, device)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._state: dict[str, int] | None = None  # after what the caller was given, which is less than was taken

    def __len__(self) -> int:
        return len(self.loader)

    def pairs(self) -> Pairs:
        """See `Loader.pairs`."""
        return Pairs(self, self.loader.options.rank_slice, self.loader.num_samples)

    def set_epoch(self, epoch: int) -> None:
        """See `Loader.set_epoch`."""
        self.loader.set_epoch(epoch)
        self._state = None

    @property
    def sampler(self) -> Self:
        """See `Loader.sampler`."""
        return self

    def state_dict(self) -> dict[str, int]:
        """See `Loader.state_dict`: after the batch that the caller was given last."""
        return self.loader.state_dict() if self._state is None else dict(self._state)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """See `Loader.load_state_dict`."""
        self.loader.load_state_dict(state)
        self._state = None

    def __iter__(self) -> Iterator[Batch]:
        return InTurn(self._epoch(iter(self.loader)))

    def _epoch(self, batches: Iterator[Batch]) -> Generator[Batch, None, None]:
        under_way: deque[Sent] = deque()
        failure: Exception | None = None
        more = True
        place = self.loader.peek()
        while True:
            while more and len(under_way) <= self._ahead:
                try:
                    under_way.append(self._send(next(batches), place))
                    place.position = under_way[-1].state["position"]
                except StopIteration:
                    more = False
                except Exception as error:  # the caller gets the batches before it first, as from the loader
                    more, failure = False, error
            if not under_way:
                break
            sent = under_way.popleft()
            self._state = sent.state
            yield self._receive(sent)
        if failure is not None:
            raise failure
        self._state = self.loader.state_dict()

    def _send(self, batch: Batch, place: Cursor) -> Sent:
        """Begins the copies; `place` is where the loader stood before it gave `batch`."""
        with torch.cuda.stream(self._stream):  # None changes nothing
            # The small ones first: they are not pinned, and the host waits for its turn on the stream.
            small = [sent_to(self.device, part) for part in batch[1:]]
            images = batch.images.to(self.device, non_blocking=True)
            if self._finish is not None:
                position = self.loader.options.rank_slice.first(place.position)
                ids = batch.sample_ids.numpy()
                images = self._finish(images, ids, seed=place.seed, epoch=place.epoch, position=position)
            arrived = self._stream.record_event() if self._stream is not None else None
        return Sent(type(batch)._make((images, *small)), arrived, self.loader.state_dict())

    def _receive(self, sent: Sent) -> Batch:
        """The batch; whatever the caller's stream does from now on comes after its copies."""
        if sent.arrived is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(sent.arrived)
            for part in sent.batch:  # its memory must not be used again before the caller's stream has done with it
                if isinstance(part, torch.Tensor):
                    part.record_stream(current)
        return sent.batch
