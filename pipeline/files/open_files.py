"""Many files that are read here and there, of which few are open at a time: a process may have few of them open."""

import os
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from imagefeed.pipeline.runtime.os_errors import doing

MOST = 16


def any_file(path: str, descriptor: int) -> None:
    """Stands for a check that no file fails."""


class OpenFiles:
    """The files that were asked for last, open until the end of the block; for one thread.

    `check(path, descriptor)` looks at each file that is opened, and raises where it is not the right one.
    """

    def __init__(self, check: Callable[[str, int], None] = any_file) -> None:
        self._check = check
        self._open: OrderedDict[str, int] = OrderedDict()  # the one that was used last at the end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def descriptor(self, path: str, real: str | bytes | None = None) -> int:
        """Of the file at `path`, or `real` where that is how messages name it, to be read at once.

        Raises `OSError` with the path and the cure.
        """
        if path not in self._open:
            if len(self._open) == MOST:
                os.close(self._open.popitem(last=False)[1])
            with doing("read", path):
                self._open[path] = os.open(real or path, os.O_RDONLY)
            self._check(path, self._open[path])
        self._open.move_to_end(path)
        return self._open[path]
