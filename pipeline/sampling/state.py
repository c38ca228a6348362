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
    begun: bool = False  # whether an iterator has this epoch, so that the next one gets the epoch after it
    asked: bool = False  # whether that iterator was asked for a batch, so that nothing moves it any more

    def ask(self) -> None:
        """Notes that an iterator is asked for its first batch."""
        self.begun = self.asked = True

    def advance(self, samples: int, most: int) -> None:
        """Notes that a batch of `samples` was handed out, of an epoch that has `most`; padding does not count."""
        self.position = min(self.position + samples, most)

    def end_epoch(self) -> None:
        """Notes that the epoch was handed out: from now on it is the start of the next one."""
        if self.begun:
            self.epoch, self.position, self.begun = self.epoch + 1, 0, False


class Resumable:
    """Something that goes through epochs and whose position in them can be saved, loaded and set."""

    def __init__(self, seed: int, most: int, of: str) -> None:
        """Positions are in [0, `most`]; `of` is what error messages call the data."""
        self._cursor, self._most, self._of = Cursor(seed), most, of

    def begin(self) -> Cursor:
        """The cursor of a new iterator: where it was loaded or set, or else the start of the next epoch."""
        cursor = self._cursor
        if cursor.begun:
            cursor = Cursor(cursor.seed, cursor.epoch + 1)
        self._cursor = replace(cursor, begun=True, asked=False)
        return self._cursor

    def set_epoch(self, epoch: int) -> None:
        """The next `for` is epoch `epoch`: from its first batch, or from the position that was loaded for it.

        So is the iterator made last, if nobody has asked it for a batch: Lightning makes it before it tells the epoch.
        """
        if not 0 <= epoch < 2**32:
            raise ValueError(f"epoch must be in [0, 2**32), not {epoch}")
        if self._cursor.asked or self._cursor.epoch != epoch:
            self._move(self._cursor.seed, epoch, 0)
        self._cursor.begun = False

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
        """The next `for` continues where `state` was taken, with its seed. Raises `ValueError` for any other state.

        So does the iterator made last, if nobody has asked it for a batch, as with `set_epoch`.
        """
        if sorted(state) != sorted(STATE) or not all(isinstance(value, int) for value in state.values()):
            raise ValueError(f"a loader's state has the integers {', '.join(STATE)}, not {dict(state)}")
        if not (0 <= state["seed"] < 2**64 and 0 <= state["epoch"] < 2**32):
            raise ValueError(f"the state {dict(state)} is not that of a loader: seed or epoch is out of range")
        if not 0 <= state["position"] <= self._most:
            raise ValueError(
                f"the state's position {state['position']} is beyond the {self._most} samples of an epoch of "
                f"{self._of}: it belongs to another dataset"
            )
        self._move(state["seed"], state["epoch"], state["position"])

    def _move(self, seed: int, epoch: int, position: int) -> None:
        """Where the next iterator begins, and the one made last if nobody has asked it: whichever is asked first."""
        if self._cursor.asked:
            self._cursor = Cursor(seed, epoch, position)
        else:
            self._cursor.seed, self._cursor.epoch, self._cursor.position = seed, epoch, position
            self._cursor.begun = False
