"""Every image of a table read and measured once, in chunks, by as many workers as there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.runtime.executors import Executor
from imagefeed.pipeline.runtime.progress import track

CHUNK = 256  # images a task
Reader = Callable[[pa.Table], Iterator[bytes]]  # from rows to the bytes of their images, in order; can be pickled


class Measure(Protocol):
    """Measures images, one after the other. It is made in the worker, one for each chunk."""

    def __call__(self, data: bytes, row: dict, found: np.void) -> None:
        """Writes into `found`, zeros before, what one image is. Raises `BadImage` where it cannot be used."""
        ...

    def total(self) -> Any:
        """The sum over all images that could be used; those of two chunks add up by `+`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of a table, for a worker to measure."""

    start: int  # the first row
    rows: pa.Table
    read: Reader
    measure: Callable[[], Measure]
    dtype: np.dtype


class Measured(NamedTuple):
    """What the images of some rows turned out to be, n of them."""

    start: int  # the first row
    found: np.ndarray  # `dtype` [n]
    faults: dict[int, str]  # by row: why an image cannot be used
    total: Any


def measure_table(
    rows: pa.Table,
    reader_of: Callable[[pa.Table], Reader],
    measure: Callable[[], Measure],
    dtype: np.dtype,
    what: str,
    run: Executor,
) -> Measured:
    """Measures each image of `rows` into an array of `dtype`; `what` names that in the progress that is shown.

    `reader_of` gives each chunk of the rows a reader that knows no more than the chunk needs. The result is the same
    for any executor, if totals add exactly.
    """
    found, faults, total = np.zeros(len(rows), dtype), {}, measure().total()
    chunks = chunks_of(rows, reader_of, measure, dtype)
    for done in track(run(measure_chunk, chunks), len(rows), what, "images", lambda done: len(done.found)):
        found[done.start : done.start + len(done.found)] = done.found
        faults.update(done.faults)
        total = total + done.total
    return Measured(0, found, dict(sorted(faults.items())), total)


def chunks_of(
    rows: pa.Table, reader_of: Callable[[pa.Table], Reader], measure: Callable[[], Measure], dtype: np.dtype
) -> Iterator[Chunk]:
    """The rows in chunks."""
    for start in range(0, len(rows), CHUNK):
        part = rows.take(np.arange(start, min(start + CHUNK, len(rows))))  # a slice would pickle the whole table
        yield Chunk(start=start, rows=part, read=reader_of(part), measure=measure, dtype=dtype)


def measure_chunk(chunk: Chunk) -> Measured:
    """Measures the images of a chunk."""
    found, faults, measure = np.zeros(len(chunk.rows), chunk.dtype), {}, chunk.measure()
    images = zip(chunk.rows.to_pylist(), chunk.read(chunk.rows), strict=True)
    for place, (row, data) in enumerate(images):
        try:
            measure(data, row, found[place])
        except BadImage as error:
            faults[chunk.start + place] = str(error)
    return Measured(chunk.start, found, faults, measure.total())
