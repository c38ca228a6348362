"""The containers that hold images: what writes each and what lists each."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from imagefeed.pipeline.files.ranged import Readable
from imagefeed.pipeline.formats import beton, webdataset
from imagefeed.pipeline.formats.beton import BetonWriter
from imagefeed.pipeline.formats.listing import Listing
from imagefeed.pipeline.formats.tar import TarWriter

Format = Literal["tar", "beton"]
LISTERS: dict[str, Callable[[Readable, int, str], Listing]] = {
    "tar": webdataset.list_samples,
    "beton": beton.list_samples,
}


class ShardWriter(Protocol):
    """What both formats do; see the module's docstring."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def add(self, key: str, label: int, payload: bytes | memoryview, kind: int, height: int, width: int) -> int:
        """Stores one sample, a payload of a kind of `pipeline.dataset.manifest`; returns its offset, bytes."""
        ...


def shard_writer(path: Path, format: Format, capacity: int) -> ShardWriter:
    """A writer of at most `capacity` samples to `path`."""
    return TarWriter(path) if format == "tar" else BetonWriter(path, capacity)
