"""Where a loader is: three integers, the same for our own loader and for those of others in its place."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

STATE = ("seed", "epoch", "position")


@dataclass
class Cursor:
    """Where the caller is: `position` samples of the epoch were handed out, counted over all ranks."""

    seed: int
    epoch: int = 0
    position: int = 0
    taken: bool = False  # whether an iterator gives batches from here, so that the next one gets the epoch after it

    def advance(self, samples: int, most: int) -> None:
        """Notes that a batch of `samples` was handed out, of an epoch that has `most`; padding does not count."""
        self.position = min(self.position + samples, most)

    def end_epoch(self) -> None:
        """Notes that the epoch was handed out: from now on it is the start of the next one."""
        if self.taken:
            self.epoch, self.position, self.taken = self.epoch + 1, 0, False


class Resumable:
    """Something that goes through epochs and whose position in them can be saved, loaded and set.

    An iterator takes its place when it is asked for its first batch and not before: Lightning makes one before it tells
    the epoch and before it loads a state.
    """

    def __init__(self, seed: int, most: int, of: str) -> None:
        """Positions are in [0, `most`]; `of` is what error messages call the data."""
        self._cursor, self._most, self._of = Cursor(seed), most, of

    def peek(self) -> Cursor:
        """Where an iterator begins that is asked now: where the loader was set, or at the start of the next epoch."""
        cursor = self._cursor
        return Cursor(cursor.seed, cursor.epoch + 1) if cursor.taken else replace(cursor)

    def take(self) -> Cursor:
        """That place, for one iterator, which keeps it up to date."""
        self._cursor = replace(self.peek(), taken=True)
        return self._cursor

    def set_epoch(self, epoch: int) -> None:
        """The next epoch is `epoch`: from its first batch, or from the position that was loaded for it."""
        if not 0 <= epoch < 2**32:
            raise ValueError(f"epoch must be in [0, 2**32), not {epoch}")
        if self._cursor.taken or self._cursor.epoch != epoch:
            self._cursor = Cursor(self._cursor.seed, epoch)

    @property
    def sampler(self) -> Self:
        """What `set_epoch` is called on by loops that know a DataLoader: Lightning, timm. It is this loader."""
        return self

    def state_dict(self) -> dict[str, int]:
        """What a loader needs to continue after the last batch that the caller was given, on any world size.

        `position` counts the samples of the epoch that all ranks were given; padding is not counted.
        """
        return {key: getattr(self._cursor, key) for key in STATE}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """The next epoch continues where `state` was taken, with its seed. Raises `ValueError` for any other state."""
        if sorted(state) != sorted(STATE) or not all(isinstance(value, int) for value in state.values()):
            raise ValueError(f"a loader's state has the integers {', '.join(STATE)}, not {dict(state)}")
        if not (0 <= state["seed"] < 2**64 and 0 <= state["epoch"] < 2**32):
            raise ValueError(f"the state {dict(state)} is not that of a loader: seed or epoch is out of range")
        if not 0 <= state["position"] <= self._most:
            raise ValueError(
                f"the state's position {state['position']} is beyond the {self._most} samples of an epoch of "
                f"{self._of}: it belongs to another dataset"
            )
        self._cursor = Cursor(state["seed"], state["epoch"], state["position"])
