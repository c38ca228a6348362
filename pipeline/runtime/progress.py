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
    show = _bar if sys.stderr.isatty() else _lines
    for item in show(_counted(items, size, made), total, what, unit):
        signals.check()
        yield item


def _counted(
    items: Iterable[T], size: Callable[[Any], int], made: Callable[[Any], bool]
) -> Iterator[tuple[T, int, float, float]]:
    """Each item with how many units it is, units per second of this run's own work, and the seconds so far."""
    start, sum_made = time.monotonic(), 0
    for item in items:
        count = size(item)
        sum_made += count * made(item)
        seconds = time.monotonic() - start
        yield item, count, sum_made / max(seconds, 1e-9), seconds


def _bar(counted: Iterable[tuple[T, int, float, float]], total: int, what: str, unit: str) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, rate="")
        for item, count, rate, _ in counted:
            progress.update(task, advance=count, rate=f"{rate:,.0f} {unit}/s")
            yield item


def _lines(counted: Iterable[tuple[T, int, float, float]], total: int, what: str, unit: str) -> Iterator[T]:
    last, done = 0.0, 0
    for item, count, rate, seconds in counted:
        done += count
        if seconds - last >= LOG_EVERY or done == total:
            print(f"{what}: {done:,} of {total:,} {unit}, {rate:,.0f} {unit}/s", file=sys.stderr, flush=True)
            last = seconds
        yield item
