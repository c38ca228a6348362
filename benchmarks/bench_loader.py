"""Every loader that is installed, on the same photographs, beside the bare codec and copy: one alternating run.

    pip install -r benchmarks/requirements.txt      in a virtual environment of its own; see benchmarks/README.md
    python -m benchmarks.bench_loader --source DIR
    python -m benchmarks.plot_loader benchmarks/results/FILE docs/images/loaders.svg

Paper geometry, JPEG at quality 90, and 256x256 raw pixels; each photograph several times an epoch. What a contender
does, its file in `contenders/` says. Each runs in a process of its own; all take an epoch in turn, `repeats` times. An
epoch's time includes starting its iterator; the first epoch of each, which compiles, is not counted. `foreign` is
how many cores others worked on meanwhile: an epoch beside more than 0.1 of them is run again, once as often as is asked
for; where fewer than three clean ones remain, all count and the row is marked as disturbed.
"""

import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import tyro

from benchmarks.bench_convert import copies_of
from benchmarks.child import Child, Failed, missing
from benchmarks.contenders import NAMES, Work
from benchmarks.record import record
from imagefeed.pipeline.bench.measure import busy_seconds
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.image.stored import HuffmanTables
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.runtime.executors import processes

QUIET = 0.3  # seconds between epochs, for what the last contender still has in work
CLEAN = 0.1  # cores that others may use beside a clean epoch


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    copies: int = 30
    """How often each photograph comes in an epoch of JPEGs."""
    raw_copies: int = 60
    """The same for raw pixels, 200 kB each."""
    huffman: HuffmanTables = "standard"
    """Codes of the JPEGs: those of everybody's, or shared, which our decoder reads faster and conversion writes."""
    batch_size: int = 128
    repeats: int = 5
    """Counted epochs of each contender, alternating."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of decoding threads or worker processes."""
    only: tuple[str, ...] = NAMES
    """Contenders."""


@dataclass
class Runs:
    """One contender's epochs with one kind of output."""

    child: Child
    key: str
    work: Work
    images_per_second: list[float] = field(default_factory=list)
    cpu_microseconds: list[float] = field(default_factory=list)  # an image, of all its processes
    foreign: list[float] = field(default_factory=list)  # cores that others used

    @property
    def counted(self) -> list[float]:
        """The rates that count: those of clean epochs, or all where fewer than three are clean."""
        clean = [rate for rate, cores in zip(self.images_per_second, self.foreign, strict=True) if cores <= CLEAN]
        return clean if len(clean) >= 3 else self.images_per_second

    @property
    def disturbed(self) -> bool:
        """Whether others worked beside nearly all epochs."""
        return sum(cores <= CLEAN for cores in self.foreign) < 3

    def needs(self, repeats: int) -> bool:
        """Whether fewer than `repeats` epochs were clean."""
        return sum(cores <= CLEAN for cores in self.foreign) < repeats

    def measure(self) -> None:
        """One more epoch."""
        time.sleep(QUIET)
        before, own, start = busy_seconds(), self.child.cpu_seconds(), time.perf_counter()
        images, seconds = self.child.epoch(self.key)
        wall, used = time.perf_counter() - start, self.child.cpu_seconds() - own
        self.images_per_second.append(images / seconds)
        self.cpu_microseconds.append(1e6 * used / images)
        self.foreign.append(max(0.0, busy_seconds() - before - used) / wall)


def prepare(config: BenchConfig, data: Path) -> None:
    """Everything that the contenders read: tars, a beton, a raw beton, one file an image."""
    for copies, out, options in (
        (config.copies, data, {"format": "both", "huffman": config.huffman}),
        (config.raw_copies, data / "raw", {"format": "beton", "raw": True}),
    ):
        with tempfile.TemporaryDirectory(dir=data) as source:
            count = len(copies_of(config.source, copies, Path(source)))
            # FFCV reads one file, the others want shards for their workers: only betons hold it all in one.
            size = count if "raw" in options else -(-count // (2 * max(config.threads)))
            convert(Path(source), out, ConvertOptions(shard_size=size, **options), processes(max(config.threads)))
            if "raw" not in options:
                whole = ConvertOptions(format="beton", shard_size=count, huffman=config.huffman)
                convert(Path(source), data / "whole", whole, processes(max(config.threads)))
    (data / "beton").rename(data / "beton-shards")
    (data / "whole").rename(data / "beton")
    tar = open_dataset(data / "tar" / "train")
    for row in range(len(tar)):
        folder = data / "files" / f"{tar.columns.label[row]:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        with open(tar.path / tar.manifest.shards[tar.columns.shard[row]].name, "rb") as shard:
            shard.seek(tar.columns.offset[row])
            (folder / f"{row}.jpg").write_bytes(shard.read(tar.columns.size[row]))


def main(config: BenchConfig) -> None:
    """Prepares, runs all contenders in turn, prints and records."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        prepare(config, data)
        for threads in config.threads:
            results = run(config, data, threads)
            report(results, threads)
            for runs in results:
                values = {
                    "run": started,
                    "huffman": config.huffman,
                    **{key: value for key, value in asdict(runs.work).items() if key != "data"},
                    "epochs": len(runs.images_per_second),
                    "median": statistics.median(runs.counted),
                    "images_per_second": runs.images_per_second,
                    "cpu_microseconds": runs.cpu_microseconds,
                    "foreign_cores": runs.foreign,
                    "counted": runs.counted,
                    "disturbed": runs.disturbed,
                }
                record("loaders", runs.child.name, values)


def run(config: BenchConfig, data: Path, threads: int) -> list[Runs]:
    """All contenders with `threads` threads."""
    children, results = [], []
    try:
        for name in config.only:
            if (why := missing(name)) is not None:
                print(f"{name} is skipped: {why}")
                continue
            children.append(Child(name))
            contender = import_module(f"benchmarks.contenders.{name}")
            for stored in contender.STORED:
                for dtype, layout in contender.OUTPUTS:
                    work = Work(
                        data=data,
                        stored=stored,
                        dtype=dtype,
                        layout=layout,
                        threads=threads,
                        batch_size=config.batch_size,
                    )
                    runs = Runs(children[-1], f"{stored} {dtype} {layout}", work)
                    try:
                        runs.child.open(runs.key, work)
                        runs.child.epoch(runs.key)
                        results.append(runs)
                    except Failed as error:
                        print(f"{name} {runs.key} is skipped: {error}")
        for _ in range(2 * config.repeats):
            for runs in results:
                if runs.needs(config.repeats):
                    runs.measure()
    finally:
        for child in children:
            child.close()
    return results


def report(results: list[Runs], threads: int) -> None:
    """Prints a table."""
    limit = dict.fromkeys(("jpeg", "raw"), 0.0)
    print(f"\n{threads} threads, images/s              min  median     max  of limit  cpu us  foreign")
    for runs in results:
        low, middle, high = min(runs.counted), statistics.median(runs.counted), max(runs.counted)
        if runs.child.name == "codec":
            limit["jpeg"] = middle
        share = f"{middle / limit['jpeg']:10.2f}" if runs.work.stored == "jpeg" and limit["jpeg"] else " " * 10
        cpu, foreign = statistics.median(runs.cpu_microseconds), statistics.median(runs.foreign)
        mark = "  disturbed" if runs.disturbed else ""
        print(
            f"{runs.child.name:11} {runs.key:19}{low:8.0f}{middle:8.0f}{high:8.0f}{share}{cpu:8.0f}{foreign:9.2f}{mark}"
        )


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
