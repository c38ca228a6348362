"""The two kinds of shard: tar as WebDataset reads it, beton as FFCV reads it. One contract for writing both.

A writer is a context manager that creates `path`; `add` stores one sample and returns where its payload begins
(bytes from the start of the file); leaving the block without an exception completes the file.
"""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pipeline.formats.beton import BetonWriter
from pipeline.formats.tar import TarWriter
from pipeline.manifest import Format


class ShardWriter(Protocol):
    """What both formats do; see the module's docstring."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, key: str, label: int, payload: bytes | memoryview, kind: int, height: int, width: int) -> int:
        """Stores one sample, a payload of a kind of `pipeline.manifest`; returns its offset, bytes."""
        ...


def shard_writer(path: Path, format: Format, capacity: int) -> ShardWriter:
    """A writer of at most `capacity` samples to `path`."""
    return TarWriter(path) if format == "tar" else BetonWriter(path, capacity)
