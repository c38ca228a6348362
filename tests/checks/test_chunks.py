"""Each row is measured once and lands in its place, in whatever order the chunks come back."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from imagefeed.pipeline.checks import chunks
from imagefeed.pipeline.checks.chunks import Chunk, Reader, measure_table
from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.runtime.executors import processes, run_here

DTYPE = np.dtype([("double", "i8"), ("calls", "i8")])


class Doubles:
    """Doubles numbers that are written as text; 13 is no image."""

    def __init__(self) -> None:
        self.calls = self.sum = 0

    def __call__(self, data: bytes, row: dict, found: np.void) -> None:
        assert int(data) == row["number"]
        self.calls += 1
        found["calls"] = self.calls
        if row["number"] % 100 == 13:
            raise BadImage(f"{row['number']} is unlucky")
        found["double"] = 2 * row["number"]
        self.sum += row["number"]

    def total(self) -> int:
        return self.sum


def read(known: list[int], rows: pa.Table) -> Iterator[bytes]:
    assert known == rows["number"].to_pylist()  # no more than the chunk needs
    return (str(number).encode() for number in known)


def reader_of(rows: pa.Table) -> Reader:
    return partial(read, rows["number"].to_pylist())


def backwards(make: Callable, tasks: Iterable) -> Iterator[Any]:
    """An executor whose results come in the opposite order."""
    return iter([make(task) for task in tasks][::-1])


@pytest.mark.parametrize("run", [run_here, backwards, processes(2)], ids=["here", "backwards", "processes"])
@pytest.mark.parametrize("count", [1, 3 * chunks.CHUNK, 2 * chunks.CHUNK + 1])
def test_the_result_is_that_of_a_loop(run: Any, count: int) -> None:
    seen = measure_table(pa.table({"number": range(count)}), reader_of, Doubles, DTYPE, "doubling", run)
    bad = [number for number in range(count) if number % 100 == 13]
    assert seen.found["double"].tolist() == [0 if number in bad else 2 * number for number in range(count)]
    assert list(seen.faults.items()) == [(number, f"{number} is unlucky") for number in bad]
    assert seen.total == sum(range(count)) - sum(bad)
    assert seen.found["calls"].tolist() == [1 + number % chunks.CHUNK for number in range(count)]


def test_a_reader_that_stops_short_is_an_error() -> None:
    def short(rows: pa.Table) -> Reader:
        return lambda rows: iter([b"0"])

    with pytest.raises(ValueError, match="zip"):
        measure_table(pa.table({"number": range(2)}), short, Doubles, DTYPE, "doubling", run_here)


def test_a_task_holds_its_own_rows_alone() -> None:
    import pickle

    table = pa.table({"number": range(100_000)})
    tasks: list[Chunk] = list(chunks.chunks_of(table, reader_of, Doubles, DTYPE))
    assert max(len(pickle.dumps(task)) for task in tasks) < 10_000
