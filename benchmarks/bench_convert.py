"""Conversion speed, peers side by side in one alternating run: the same photographs to 256x256, JPEG at quality 90.

    python -m benchmarks.bench_convert --source DIR --workers 2 --repeats 5

`converters.py` says what each of them does. Start-up of processes is part of each time. Ours also lists the source,
decodes again each JPEG that it has written, takes the statistics, hashes, and syncs each shard to disk. Each image is
used `copies` times. Beside the rate stands the processor time of all processes: it tells the work even where others use
the same cores.
"""

import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.converters import CONVERTERS
from benchmarks.record import record
from imagefeed.pipeline.sources.image_table import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    copies: int = 60
    """How often each image is used."""
    workers: int = 2
    """Processes."""
    repeats: int = 5
    """Runs of each, alternating."""
    only: tuple[str, ...] = tuple(CONVERTERS)
    """Which to run."""


def copies_of(source: Path, copies: int, into: Path) -> list[Path]:
    """Fills `into` with `copies` links to each image; returns the paths, so that copies of one image lie far apart."""
    originals = [path for path in sorted(source.glob("*/*")) if path.suffix.lower()[1:] in SUFFIXES]
    paths: list[list[Path]] = [[] for _ in range(copies)]
    for path in originals:
        folder = into / path.parent.name
        folder.mkdir(exist_ok=True)
        first = folder / f"{path.stem}_0{path.suffix}"
        shutil.copy(path, first)
        for number, copy in enumerate(paths):
            copy.append(folder / f"{path.stem}_{number}{path.suffix}")
            if number:
                copy[-1].hardlink_to(first)
    return [path for copy in paths for path in copy]


def processor_seconds() -> float:
    """User and system time so far, of this process and of all that have ended."""
    for child in multiprocessing.active_children():
        child.join()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main(config: BenchConfig) -> None:
    """Runs all in turn and records the rates."""
    rates: dict[str, list[float]] = {name: [] for name in config.only}
    costs: dict[str, list[float]] = {name: [] for name in config.only}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        paths = copies_of(config.source, config.copies, source)
        for repeat in range(config.repeats + 1):
            for name in config.only:
                out = Path(scratch, "out")
                out.mkdir()
                start, used = time.perf_counter(), processor_seconds()
                CONVERTERS[name](paths, out, config.workers)
                seconds = time.perf_counter() - start
                if repeat:  # the first time something may be compiled
                    rates[name].append(len(paths) / seconds)
                    costs[name].append((processor_seconds() - used) / len(paths) * 1e6)
                shutil.rmtree(out)
    for name in config.only:
        figures = {"images_per_second": rates[name], "median": statistics.median(rates[name])}
        cost = {"processor_us_per_image": costs[name], "median_us": statistics.median(costs[name])}
        print(f"{name:36} {spread(rates[name])} images/s, {spread(costs[name])} us an image (min, median, max)")
        record("convert", name, {**figures, **cost, "images": len(paths), "workers": config.workers})


def spread(values: list[float]) -> str:
    """Smallest, middle and largest."""
    return " ".join(f"{value:6.0f}" for value in (min(values), statistics.median(values), max(values)))


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
