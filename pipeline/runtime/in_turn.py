"""A generator that threads may share: Python itself would raise where a second one asks meanwhile."""

import threading
from collections.abc import Generator
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class InTurn(Generic[T]):
    """The items of `generator`; of several threads that ask, one is served at a time, and each comes to the end."""

    def __init__(self, generator: Generator[T, None, None]) -> None:
        self._generator, self._serving = generator, threading.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._serving:
            return next(self._generator)

    def close(self) -> None:
        """Ends the generator; waits for whoever is being served."""
        with self._serving:
            self._generator.close()
