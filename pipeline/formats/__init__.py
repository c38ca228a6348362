"""The two kinds of shard: tar as WebDataset reads it, beton as FFCV reads it. One contract for writing both.

A writer is a context manager that creates `path`; `add` stores one sample and returns where its payload begins
(bytes from the start of the file); leaving the block without an exception completes the file.
"""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pipeline.formats.beton import BetonWriter
from pipeline.formats.tar import TarWriter
from pipeline.manifest import Encoding, Format


class ShardWriter(Protocol):
    """What both formats do; see the module's docstring."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, key: str, label: int, payload: bytes, height: int, width: int) -> int:
        """Stores one sample; returns the offset of its payload, bytes."""
        ...


def shard_writer(path: Path, format: Format, encoding: Encoding, capacity: int) -> ShardWriter:
    """A writer of at most `capacity` samples to `path`."""
    if format == "tar":
        return TarWriter(path)
    return BetonWriter(path, encoding, capacity)
