"""Progress of a long run: a bar on a terminal, a line every few seconds in a log."""

import sys
import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imagefeed.pipeline.runtime import signals

LOG_EVERY = 5.0  # seconds between lines where there is no terminal


def track(done: Iterable[int], total: int, what: str, unit: str) -> Iterator[int]:
    """Passes `done` on, counts that add up to `total`, and shows how far they have come, on standard error."""
    for count in (_bar if sys.stderr.isatty() else _lines)(done, total, what, unit):
        signals.check()
        yield count


def _bar(done: Iterable[int], total: int, what: str, unit: str) -> Iterator[int]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start, sum_done = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, rate="")
        for count in done:
            sum_done += count
            rate = sum_done / (time.monotonic() - start)
            progress.update(task, advance=count, rate=f"{rate:,.0f} {unit}/s")
            yield count


def _lines(done: Iterable[int], total: int, what: str, unit: str) -> Iterator[int]:
    start = last = time.monotonic()
    sum_done = 0
    for count in done:
        sum_done += count
        now = time.monotonic()
        if now - last >= LOG_EVERY or sum_done == total:
            rate = sum_done / (now - start)
            print(f"{what}: {sum_done:,} of {total:,} {unit}, {rate:,.0f} {unit}/s", file=sys.stderr, flush=True)
            last = now
        yield count
