"""Our loader beside FFCV's own, on the same beton, and beside the bare codec: alternating epochs of one process.

    python -m benchmarks.bench_loader --source DIR --copies 20 --repeats 7

Paper geometry, JPEG at quality 90. Ours: the `alexnet` recipe, that is hashes checked, decode, random 224 of 256,
mirror, PCA colour, per-pixel mean (uint8: crop and mirror). FFCV: its own decoder with RandomResizedCrop set to the
same crop (scale 224^2 / 256^2, ratio 1), mirror, NormalizeImage by channel, ToTensor, ToTorchImage: no colour and no
per-pixel mean, which it does not have. Bare: libjpeg-turbo's full decode of every image into one scratch image, by
as many threads. The first epoch of each, which compiles, is not counted; an epoch's time includes starting it.
`foreign` is the share of a core that other processes used meanwhile: figures beside a large one are worth little.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import sysconf, times
from pathlib import Path

import numpy as np
import torch
import tyro
from numba import njit

from benchmarks.bench_convert import copies_of
from benchmarks.record import record
from pipeline.conversion import ConvertOptions, convert
from pipeline.dataset import Dataset, open_dataset
from pipeline.intrinsics import add_atomically
from pipeline.mapping import bytes_at
from pipeline.native import decode_rgb, tj_close, tj_open
from pipeline.runners import processes

OUTPUTS = [("float32", "NCHW"), ("float16", "NHWC"), ("uint8", "NHWC")]
Epoch = Callable[[], int]  # runs one epoch; returns how many images it gave


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    copies: int = 20
    """How often each image comes in an epoch."""
    batch_size: int = 128
    repeats: int = 7
    """Counted epochs of each contender, alternating."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of decoding threads."""


@dataclass
class Runs:
    """One contender's epochs."""

    images_per_second: list[float] = field(default_factory=list)
    cpu_microseconds: list[float] = field(default_factory=list)  # of this process, an image
    foreign: list[float] = field(default_factory=list)  # cores that others used


def ours(dataset: Dataset, threads: int, batch_size: int, dtype: str, layout: str) -> Epoch:
    """imagefeed's loader."""
    loader = dataset.loader(num_threads=threads, batch_size=batch_size, dtype=dtype, layout=layout)
    return lambda: sum(int(batch.valid.sum()) for batch in loader)


def ffcv(beton: Path, threads: int, batch_size: int, dtype: str, layout: str) -> Epoch:
    """FFCV's loader with its own transforms."""
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage

    share = 224**2 / 256**2
    crop = RandomResizedCropRGBImageDecoder((224, 224), scale=(share, share), ratio=(1.0, 1.0))
    mean, deviation = np.array([123.7, 116.3, 103.5]), np.array([58.4, 57.1, 57.4])
    normalise = [] if dtype == "uint8" else [NormalizeImage(mean, deviation, np.dtype(dtype).type)]
    tensor = [ToTensor(), ToTorchImage(channels_last=layout == "NHWC")]
    loader = Loader(
        str(beton),
        batch_size=batch_size,
        num_workers=threads,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        pipelines={"image": [crop, RandomHorizontalFlip(), *normalise, *tensor], "label": [IntDecoder(), ToTensor()]},
    )
    return lambda: sum(len(labels) for _, labels in loader)


@njit(nogil=True)
def decode_all(claims, addresses, sizes, image):
    """Claims and decodes images until none is left; returns whether one failed."""
    decoder, bad = tj_open(), 0
    i = add_atomically(claims, 1)
    while i < sizes.size:
        bad += decode_rgb(decoder, bytes_at(addresses[i], sizes[i]), image)
        i = add_atomically(claims, 1)
    tj_close(decoder)
    return bad


def bare(dataset: Dataset, threads: int) -> Epoch:
    """The codec alone, in a shuffled order."""
    rows = np.random.default_rng(0).permutation(len(dataset))
    (addresses, _), sizes = dataset.maps(rows), dataset.columns.size[rows]

    def epoch() -> int:
        claims, bad = np.zeros(1, np.int64), []
        image = lambda: np.empty((256, 256, 3), np.uint8)
        crew = [
            threading.Thread(target=lambda: bad.append(decode_all(claims, addresses, sizes, image())))
            for _ in range(threads)
        ]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        assert not any(bad)
        return len(rows)

    return epoch


@contextmanager
def measured(runs: Runs, images: int) -> Iterator[None]:
    """Adds one epoch of `images` to `runs`."""
    before, own, start = busy_seconds(), sum(times()[:4]), time.perf_counter()
    yield
    wall = time.perf_counter() - start
    used = sum(times()[:4]) - own
    runs.images_per_second.append(images / wall)
    runs.cpu_microseconds.append(1e6 * used / images)
    runs.foreign.append(max(0.0, busy_seconds() - before - used) / wall)


def busy_seconds() -> float:
    """Seconds that all cores together have worked for anybody, from /proc/stat."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / sysconf("SC_CLK_TCK")


def main(config: BenchConfig) -> None:
    """Converts, runs all contenders in turn, prints and records."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch, "source"), Path(scratch, "out")
        source.mkdir()
        count = copies_of(config.source, config.copies, source)
        convert(source, out, ConvertOptions(format="beton", shard_size=count), processes(max(config.threads)))
        dataset = open_dataset(out / "train")
        beton = out / "train" / dataset.manifest.shards[0].name
        contenders: dict[int, dict[str, Epoch]] = {threads: {} for threads in config.threads}
        for threads, made in contenders.items():  # all of ours first: see `native.check_numba`
            made["bare decode"] = bare(dataset, threads)
            made["bare decode"]()
            for dtype, layout in OUTPUTS:
                made[f"imagefeed {dtype} {layout}"] = ours(dataset, threads, config.batch_size, dtype, layout)
        for threads, made in contenders.items():
            for dtype, layout in OUTPUTS:
                made[f"ffcv {dtype} {layout}"] = ffcv(beton, threads, config.batch_size, dtype, layout)
            results = {name: Runs() for name in made}
            for repeat in range(1 + config.repeats):
                for name, epoch in made.items():
                    with measured(results[name] if repeat else Runs(), len(dataset)):
                        assert epoch() == len(dataset)
            report(results, threads, config, len(dataset))


def report(results: dict[str, Runs], threads: int, config: BenchConfig, images: int) -> None:
    """Prints a table and appends the record."""
    decode = statistics.median(results["bare decode"].images_per_second)
    print(f"\n{threads} threads, images/s       min  median     max  of bare  cpu us  foreign")
    for name, runs in results.items():
        rates = runs.images_per_second
        low, middle, high = min(rates), statistics.median(rates), max(rates)
        cpu, foreign = statistics.median(runs.cpu_microseconds), statistics.median(runs.foreign)
        print(f"{name:24}{low:8.0f}{middle:8.0f}{high:8.0f}{middle / decode:9.2f}{cpu:8.0f}{foreign:9.2f}")
        values = {
            "threads": threads,
            "images": images,
            "batch_size": config.batch_size,
            "images_per_second": rates,
            "median": middle,
            "share_of_bare_decode": middle / decode,
            "cpu_microseconds": runs.cpu_microseconds,
            "foreign_cores": runs.foreign,
        }
        record("loader", name, values)


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
