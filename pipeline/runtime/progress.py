"""Progress of a long run: a bar on a terminal, a line every few seconds in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from operator import index
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imagefeed.pipeline.runtime import signals

T = TypeVar("T")
LOG_EVERY = 5.0  # seconds between lines where there is no terminal


def track(
    items: Iterable[T],
    total: int,
    what: str,
    unit: str,
    size: Callable[[Any], int] = index,
    made: Callable[[Any], bool] = lambda item: True,
) -> Iterator[T]:
    """Passes `items` on and shows on standard error how far they have come: `what`, so many of `total` `unit`s.

    `size` says how many units an item is; unless it is given, the items are numbers, of units each. `made` says whether
    an item is this run's own work: the rate is that of these alone.
    """
    for item in (_bar if sys.stderr.isatty() else _lines)(items, total, what, unit, size, made):
        signals.check()
        yield item


def _bar(
    items: Iterable[T],
    total: int,
    what: str,
    unit: str,
    size: Callable[[Any], int],
    made: Callable[[Any], bool],
) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start, sum_made = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, rate="")
        for item in items:
            count = size(item)
            sum_made += count * made(item)
            rate = sum_made / (time.monotonic() - start)
            progress.update(task, advance=count, rate=f"{rate:,.0f} {unit}/s")
            yield item


def _lines(
    items: Iterable[T],
    total: int,
    what: str,
    unit: str,
    size: Callable[[Any], int],
    made: Callable[[Any], bool],
) -> Iterator[T]:
    start = last = time.monotonic()
    sum_done = sum_made = 0
    for item in items:
        count = size(item)
        sum_done += count
        sum_made += count * made(item)
        now = time.monotonic()
        if now - last >= LOG_EVERY or sum_done == total:
            rate = sum_made / (now - start)
            print(f"{what}: {sum_done:,} of {total:,} {unit}, {rate:,.0f} {unit}/s", file=sys.stderr, flush=True)
            last = now
        yield item
