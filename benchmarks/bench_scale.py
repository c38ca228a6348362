"""What decides whether a conversion grows: the driver's memory, a task's size, Ray's share, listing and copying.

    python -m benchmarks.bench_scale --source DIR driver ray runners index copy

driver   a process plans a synthetic listing of 1 and 10 million images, makes every task and joins the records of all
         shards; its memory after each step, and the largest pickled task
ray      tasks of real size that do nothing, on a Ray of this machine
runners  one conversion in a loop, in two processes and in two tasks of a Ray, alternating: images a second
index    a tar of a million members, half of them labels, in the page cache: how long listing it takes
copy     `--resize none` to tar beside `cp -r` and `sha256sum` of the same files, both synced to disk, alternating
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks.bench_convert import copies_of, processor_seconds
from benchmarks.record import record
from benchmarks.synthetic import synthetic_source
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.plan import plan_split
from imagefeed.pipeline.convert.write_shard import ShardResult, ShardTask
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.formats.tar import header
from imagefeed.pipeline.runtime.executors import Executor, processes, run_here

MEMBERS = 1_000_000
IMAGE_BYTES = 1000  # that the file fits into the page cache; of larger ones a scan reads as many pages


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    what: tyro.conf.Positional[tuple[Literal["driver", "ray", "runners", "index", "copy"], ...]] = (
        "driver",
        "ray",
        "runners",
        "index",
        "copy",
    )
    counts: tuple[int, ...] = (1_000_000, 10_000_000)
    """Images of the synthetic listings."""
    copies: int = 40
    """How often each photograph is used."""
    repeats: int = 5
    """Runs of each, alternating."""


DRIVER = """
import json, pickle, sys, tempfile, time
from pathlib import Path
from benchmarks.bench_scale import join, memory
from benchmarks.synthetic import synthetic_source
from imagefeed.pipeline.convert.plan import plan_split
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.convert.options import ConvertOptions

stages, began = {"imports": memory()}, time.perf_counter()
source = synthetic_source(int(sys.argv[1]))
stages["table"] = {"seconds": time.perf_counter() - began} | memory()
with tempfile.TemporaryDirectory() as scratch:
    split, largest, count = plan_split(source, "train", LocalOutput(Path(scratch)), ConvertOptions()), 0, 0
    began = time.perf_counter()
    for task in split.tasks():
        largest, count = max(largest, len(pickle.dumps(task, protocol=5))), count + 1
    stages["tasks"] = {"seconds": time.perf_counter() - began, "count": count, "largest": largest} | memory()
    stages["finish"] = join(split) | memory()
print(json.dumps(stages))
"""


def memory() -> dict[str, float]:
    """Of this process, MiB: now and at most so far."""
    now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"mib": now / 2**20, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}


def join(split) -> dict[str, float]:
    """Writes the record of each shard of a split as its worker would, then joins them; the seconds of that."""
    from imagefeed.pipeline.convert.convert import finish
    from imagefeed.pipeline.convert.shard_record import ShardRecord, save_record
    from imagefeed.pipeline.dataset.manifest import Shard
    from imagefeed.pipeline.dataset.statistics import Moments, PixelSums
    from imagefeed.pipeline.dataset.tables import QUARANTINE_SCHEMA, SAMPLES_SCHEMA

    folder = split.out["tar"]
    moments = Moments(1, np.ones(3, np.int64), np.ones((3, 3), np.int64))
    for task in split.tasks():
        rows = task.rows.select(["key", "label", "size", "offset"])
        same = {"shard": task.number, "height": 256, "width": 256, "kind": 0, "xxh3": 2**63 + task.number}
        for name, value in {"id": task.ids, **{key: np.full(len(rows), value) for key, value in same.items()}}.items():
            rows = rows.append_column(name, [np.asarray(value)])
        save_record(
            folder,
            ShardRecord(
                digest=task.digest,
                shard=Shard(name=task.name("tar"), num_samples=len(rows), num_bytes=0, sha256="0" * 64),
                moments=moments,
                samples=rows.select(SAMPLES_SCHEMA.names).cast(SAMPLES_SCHEMA),
                quarantine=QUARANTINE_SCHEMA.empty_table(),
                pixel_sums=PixelSums(None, True),
            ),
        )
    before, start = memory(), time.perf_counter()
    finish(split, "tar", lambda: None)
    return {"seconds": time.perf_counter() - start, "mib_before": before["mib"], "peak_mib_before": before["peak_mib"]}


def driver(config: BenchConfig) -> None:
    """Memory and time of the driver alone."""
    for count in config.counts:
        told = subprocess.run([sys.executable, "-c", DRIVER, str(count)], check=True, capture_output=True, text=True)
        stages = json.loads(told.stdout)
        print(count, json.dumps(stages))
        record("scale", f"driver, {count:,} images", stages)


def nothing(task: ShardTask) -> ShardResult:
    """A task that costs nothing but its way."""
    return ShardResult(num_samples=len(task.ids), reused=True)


def ray(config: BenchConfig) -> None:
    """Ray's own cost a task, and its speed beside the plain loop."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from imagefeed.jobs.cluster.connect import connected
    from imagefeed.jobs.cluster.work import on_ray

    began = time.perf_counter()
    with connected(), tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter() - began
        tasks = list(
            plan_split(synthetic_source(400 * 4096), "train", LocalOutput(Path(scratch)), ConvertOptions()).tasks()
        )
        list(on_ray(nothing, tasks[:50]))  # the workers come up
        began, used = time.perf_counter(), processor_seconds()
        list(on_ray(nothing, tasks))
        seconds = (time.perf_counter() - began) / len(tasks)
        figures = {"start_seconds": started, "seconds_per_task": seconds, "tasks": len(tasks)}
        print(json.dumps(figures))
        record("scale", "ray, empty tasks", figures | {"driver_processor_seconds": processor_seconds() - used})


def runners(config: BenchConfig) -> None:
    """The same conversion by each runner, on a Ray that is up already."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from imagefeed.jobs.cluster.connect import connected
    from imagefeed.jobs.cluster.work import on_ray

    ways: dict[str, Executor] = {"loop": run_here, "two processes": processes(2), "ray, two cores": on_ray}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with connected(), tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        count = len(copies_of(config.source, config.copies, source))
        for repeat in range(config.repeats + 1):
            for name, run in ways.items():
                out = Path(scratch, "out")
                start = time.perf_counter()
                convert(source, out, ConvertOptions(shard_size=500), run)
                if repeat:
                    rates[name].append(count / (time.perf_counter() - start))
                shutil.rmtree(out)
    for name, values in rates.items():
        print(f"{name:16} {min(values):6.0f} {statistics.median(values):6.0f} {max(values):6.0f} images/s")
        record("scale", f"conversion, {name}", {"images": count, "images_per_second": values})


def million_members(path: Path) -> None:
    """A tar of `MEMBERS` members, an image and its label in turn."""
    pad = bytes(-IMAGE_BYTES % 512)
    with open(path, "wb") as file:
        for number in range(MEMBERS // 2):
            key = f"n{number % 1000:08}/{number:08}"
            file.write(header(f"{key}.jpg", IMAGE_BYTES) + b"\xff\xd8" + bytes(IMAGE_BYTES - 2) + pad)
            file.write(header(f"{key}.cls", 3) + b"%03d" % (number % 1000) + bytes(509))
        file.write(bytes(1024))


def index(config: BenchConfig) -> None:
    """Listing a million members, from their headers."""
    from imagefeed.pipeline.sources.open_source import open_source

    with tempfile.TemporaryDirectory() as scratch:
        path, times = Path(scratch, "million.tar"), []
        million_members(path)
        for _ in range(config.repeats + 1):
            start = time.perf_counter()
            count = sum(len(table) for table in open_source(path).splits.values())
            times.append(time.perf_counter() - start)
        print(count, times)
        record(
            "scale", "index of a million members", {"images": count, "seconds": times[1:], "first_seconds": times[0]}
        )


def by_cp(source: Path, out: Path) -> None:
    """What anybody would do: copy, hash, wait for the disk."""
    subprocess.run(["cp", "-r", source, out / "copy"], check=True)
    command = "find copy -type f -print0 | xargs -0 -P 2 -n 500 sha256sum > sums && sync -f ."
    subprocess.run(["bash", "-c", command], cwd=out, check=True)


def by_us(source: Path, out: Path) -> None:
    """`imagefeed convert SRC OUT --resize none --workers 2`."""
    convert(source, out, ConvertOptions(resize="none", shard_size=1000), processes(2))


def copy(config: BenchConfig) -> None:
    """Copies of encoded bytes, MB/s."""
    rates: dict[str, list[float]] = {"cp and sha256sum": [], "imagefeed --resize none": []}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        size = sum(path.stat().st_size for path in copies_of(config.source, config.copies, source))
        for repeat in range(config.repeats + 1):
            for name, make in zip(rates, (by_cp, by_us), strict=True):
                out = Path(scratch, "out")
                out.mkdir()
                os.sync()
                start = time.perf_counter()
                make(source, out)
                if repeat:
                    rates[name].append(size / 1e6 / (time.perf_counter() - start))
                shutil.rmtree(out)
    for name, values in rates.items():
        print(f"{name:24} {min(values):6.0f} {statistics.median(values):6.0f} {max(values):6.0f} MB/s")
        record("scale", name, {"megabytes_per_second": values, "megabytes": size / 1e6})


def main(config: BenchConfig) -> None:
    """Runs what was asked for."""
    for name in config.what:
        {"driver": driver, "ray": ray, "runners": runners, "index": index, "copy": copy}[name](config)


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
