"""Memory over many epochs; time and memory from the start of a process to its first batch, for 1,281,167 samples.

    python -m benchmarks.bench_memory --source DIR --epochs 50 --repeats 5

The large split is an index of as many samples as ImageNet's training split that all lie in one small shard: what is
read before the first batch is the table, the mean image and the compiled code. A process of its own opens it, with
Numba's cache warm, and says after each stage how many seconds have passed since it was started and how much memory
it has: `anonymous` is its own, `file` are pages of libraries and shards that the ranks of a machine share.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from benchmarks.record import record
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import SAMPLES, Manifest
from imagefeed.pipeline.dataset.tables import SAMPLES_SCHEMA, read_samples
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.runtime.executors import processes

IMAGENET = 1_281_167

START = """
import json, sys, time

def memory():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    mebibytes = lambda field: int(lines[field].split()[0]) / 1024
    return {"anonymous": mebibytes("RssAnon"), "file": mebibytes("RssFile")}

def stage(name):
    stages.append({"stage": name, "seconds": time.time() - started, **memory()})

stages, started = [], float(sys.argv[2])
stage("python")
import torch
stage("import torch")
from imagefeed import open_dataset
dataset = open_dataset(sys.argv[1])
stage("open")
dataset.columns
stage("table")
loader = dataset.loader(**json.loads(sys.argv[3]))
stage("loader")
batches = iter(loader)
batch = next(batches)
stage("first batch")
buffers = set()
for _ in range(20):
    batch = next(batches)
    buffers.add(batch.images.data_ptr())
stage("20 batches more")
print(json.dumps({"stages": stages, "buffers": len(buffers) * batch.images.nbytes / 2**20}))
"""


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    epochs: int = 50
    """Over which memory is watched."""
    samples: int = IMAGENET
    """Rows of the large index."""
    repeats: int = 5
    """Processes that are started, after one that compiles."""
    batch_size: int = 128
    threads: int = 2


def enlarged(split: Path, num_samples: int) -> Dataset:
    """Makes a small split one of `num_samples`, row for row with keys of ImageNet's length, over the same shards."""
    manifest, table = Manifest.load(split), read_samples(split)
    rows = np.resize(np.arange(len(table)), num_samples)
    columns = {name: table[name].take(rows) for name in SAMPLES_SCHEMA.names}
    columns["id"] = pa.array(np.arange(num_samples))
    columns["key"] = pa.array(
        [f"n{10**7 + i // 1300:08d}/n{10**7 + i // 1300:08d}_{i % 20000}" for i in range(num_samples)]
    )
    pq.write_table(pa.table(columns, SAMPLES_SCHEMA), split / SAMPLES)
    last = replace(manifest.shards[-1], num_samples=manifest.shards[-1].num_samples + num_samples - len(table))
    files = manifest.files | {SAMPLES: file_sha256(split / SAMPLES)}
    replace(manifest, num_samples=num_samples, shards=(*manifest.shards[:-1], last), files=files).save(split)
    return open_dataset(split)


def resident() -> float:
    """Anonymous memory of this process, MiB."""
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


def over_epochs(split: Path, config: BenchConfig) -> list[float]:
    """MiB after each epoch of a loop that keeps nothing."""
    loader = open_dataset(split).loader(batch_size=config.batch_size, num_threads=config.threads)
    used = []
    for _ in range(config.epochs):
        for batch in loader:
            del batch
        used.append(resident())
    return used


def start(split: Path, config: BenchConfig) -> dict:
    """What one process says of its start."""
    options = {"batch_size": config.batch_size, "num_threads": config.threads}
    command = [sys.executable, "-c", START, str(split), str(time.time()), json.dumps(options)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(config: BenchConfig) -> None:
    """Converts, measures, prints and records."""
    with tempfile.TemporaryDirectory() as scratch:
        convert(config.source, Path(scratch), ConvertOptions(shard_size=1000), processes(config.threads))
        split = Path(scratch, "train")
        used = over_epochs(split, config)
        half = len(used) // 2
        print(f"MiB after epoch 1, {half} and {len(used)}: {used[0]:.1f}, {used[half - 1]:.1f}, {used[-1]:.1f}")
        record("memory", "epochs", {"epochs": config.epochs, "images": len(open_dataset(split)), "mebibytes": used})
        enlarged(split, config.samples)
        start(split, config)  # compiles, where that is still to be done
        runs = [start(split, config) for _ in range(config.repeats)]
        report(runs)
        record("memory", "start", {"samples": config.samples, "batch_size": config.batch_size, "runs": runs})


def report(runs: list[dict]) -> None:
    """Prints the medians of each stage."""
    print(f"{'':20}seconds: min  median     max   MiB: anonymous    file")
    for stages in zip(*(run["stages"] for run in runs), strict=True):
        name, *_ = (stage["stage"] for stage in stages)
        seconds, anonymous, file = ([stage[what] for stage in stages] for what in ("seconds", "anonymous", "file"))
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(
            f"{name:20}{low:12.2f}{middle:8.2f}{high:8.2f}{statistics.median(anonymous):17.0f}{statistics.median(file):8.0f}"
        )
    torch = next(stage["anonymous"] for stage in runs[0]["stages"] if stage["stage"] == "import torch")
    buffers, last = runs[0]["buffers"], runs[0]["stages"][-1]["anonymous"]
    print(f"buffers {buffers:.0f} MiB; beyond torch and these {last - torch - buffers:.0f} MiB")


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
