"""What this machine can do with a dataset: each part of loading measured alone, then the loader.

`measure` takes about as long as it is told, whatever the size of the dataset. `advice` says what it means.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from imagefeed.pipeline.bench.ceilings import decode_all, decode_crops, hash_all, located, write_crops
from imagefeed.pipeline.bench.results import BenchOptions, BenchResults, Output, Rate
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.image.stored import JPEG, RAW
from imagefeed.pipeline.image.turbojpeg import FOUND
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.loader.batches import BatchPlanner
from imagefeed.pipeline.loader.dataset import Dataset
from imagefeed.pipeline.loader.loader import Loader
from imagefeed.pipeline.loader.options import LoaderOptions
from imagefeed.pipeline.runtime.cores import cores_per_rank

OUTPUTS = (("float32", "NCHW"), ("float16", "NHWC"), ("bfloat16", "NHWC"), ("uint8", "NHWC"))
COPIED = 1 << 26  # bytes that are copied at a time to measure memory: more than caches hold
NUM_DECODED = 8  # images that are written again and again: few enough to stay in a cache, where decoding leaves them


def measure(dataset: Dataset, options: BenchOptions, done: Callable[[str], None] = lambda what: None) -> BenchResults:
    """Measures everything; `done` is told what comes next. Raises what a loader of the dataset raises."""
    num_threads = options.num_threads or cores_per_rank()
    counts = sorted({1, *(2**i for i in range(1, num_threads.bit_length())), num_threads})
    columns = dataset.columns
    rows = np.random.default_rng(0).permutation(len(dataset))
    jpegs = rows[columns.kind[rows] == JPEG]
    has_gpu = torch.cuda.is_available()
    each = options.seconds / (5 + len(counts) + 3 * len(OUTPUTS) + has_gpu)

    done("reading from the disk")  # before anything is mapped: what is mapped stays in memory
    read_cold = read_rate(dataset, rows, num_threads, each, cold=True)
    read_warm = read_rate(dataset, rows, num_threads, each, cold=False)
    done("decoding")
    planner = BatchPlanner(dataset, loader_options(options, num_threads, "uint8", "NHWC"))
    decode, turbo = {}, None
    if len(jpegs):
        decode = {n: rate(lambda some, n=n: decode_crops(planner, some, n), jpegs, each) for n in counts}  # type: ignore[misc]
        if FOUND:
            turbo = rate(lambda some: decode_all(dataset, some, num_threads), jpegs, each)
    done("hashing")
    hashed = rate(lambda some: hash_all(dataset, some, num_threads), rows, each)
    done("copying memory")
    copied = copy_rate(num_threads, each)
    outputs, images = [], decoded_images(dataset)
    for dtype, layout in OUTPUTS:
        done(f"loading {dtype} {layout}")
        how = loader_options(options, num_threads, dtype, layout)
        loaded, size = load_rate(Loader(dataset, how), 2 * each)
        written = write_rate(BatchPlanner(dataset, how), images, each)
        outputs.append(Output(dtype=dtype, layout=layout, bytes_per_image=size, rate=loaded, write=written))
    done("copying to the GPU" if has_gpu else "")
    return BenchResults(
        name=str(dataset.path),
        num_samples=len(dataset),
        mean_size=float(columns.size.mean()),
        stored_bytes=int(columns.size.sum()),
        pixel_bytes=int(3 * (columns.height.astype(np.int64) * columns.width).sum()),
        memory_bytes=available_memory(),
        num_threads=num_threads,
        read_cold=read_cold,
        read_warm=read_warm,
        decoder=planner.options.decoder,
        decode=decode,
        decode_turbo=turbo,
        hash=hashed,
        copy_bytes=copied,
        outputs=tuple(outputs),
        device=torch.cuda.get_device_name() if has_gpu else "",
        device_bytes=device_rate(each) if has_gpu else 0.0,
    )


def loader_options(options: BenchOptions, num_threads: int, dtype: str, layout: str) -> LoaderOptions:
    """The loader that is measured: random crops, mirrored, with colour."""
    return LoaderOptions(
        recipe="alexnet",
        batch_size=options.batch_size,
        rank=0,
        world_size=1,
        num_threads=num_threads,
        dtype=dtype,  # type: ignore[arg-type]
        layout=layout,  # type: ignore[arg-type]
    )


def decoded_images(dataset: Dataset) -> list[np.ndarray]:
    """`NUM_DECODED` images of the dataset (uint8 [H, W, 3]), evenly spread from the smallest to the largest.

    Raises `ValueError` with the sample where one cannot be read.
    """
    columns = dataset.columns
    by_size = np.argsort(columns.height.astype(np.int64) * columns.width, kind="stable")
    rows = by_size[np.linspace(0, len(by_size) - 1, NUM_DECODED).astype(int)]
    addresses, sizes, maps = located(dataset, rows)
    images = []
    for row, address, size in zip(rows, addresses, sizes, strict=True):
        data = bytes_at(address, size)
        try:
            shape = columns.height[row], columns.width[row], 3
            images.append(data.reshape(shape).copy() if columns.kind[row] == RAW else load_rgb(data.tobytes()))
        except BadImage as error:
            raise ValueError(f"{dataset.name(int(row))}: {error}; convert the source again") from None
    del maps  # held until here
    return images


def write_rate(planner: BatchPlanner, images: list[np.ndarray], seconds: float) -> Rate:
    """The write alone: crops of decoded `images` to batches, by all threads."""
    threads = planner.options.num_threads or cores_per_rank()
    return rate(lambda some: write_crops(planner, images, some, threads), np.arange(len(images)), seconds)


class Clock:
    """Runs from when it is made; `rate(images)` reads it."""

    def __init__(self) -> None:
        self._busy, self._cpu, self._start = busy_seconds(), time.process_time(), time.perf_counter()

    def rate(self, images: int) -> Rate:
        """What `images` images took since."""
        wall, used = time.perf_counter() - self._start, time.process_time() - self._cpu
        foreign = max(0.0, busy_seconds() - self._busy - used) / wall
        return Rate(images_per_second=images / wall, cpu_seconds=used / max(1, images), foreign=foreign)


def busy_seconds() -> float:
    """Seconds that all cores together have worked for anybody, from /proc/stat."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def rate(run: Callable[[np.ndarray], int], rows: np.ndarray, seconds: float) -> Rate:
    """How fast `run(rows)` goes, on as many rows as take about `seconds`; rows come again where there are few."""
    run(rows[:8])  # compiles, and brings pages in
    count, start = 64, time.perf_counter()
    run(np.resize(rows, count))
    count = max(count, int(count * 0.9 * seconds / max(1e-9, time.perf_counter() - start)))
    clock = Clock()
    return clock.rate(run(np.resize(rows, count)))


def read_rate(dataset: Dataset, rows: np.ndarray, num_threads: int, seconds: float, cold: bool) -> float:
    """Payloads read a second in random order; `cold`: after the system was asked to forget them."""
    columns, deadline = dataset.columns, time.perf_counter() + seconds
    files = {
        number: os.open(dataset.path / shard.name, os.O_RDONLY) for number, shard in enumerate(dataset.manifest.shards)
    }

    def read(some: np.ndarray) -> int:
        count = 0
        for row in some:
            if count and time.perf_counter() > deadline:
                break
            os.pread(files[int(columns.shard[row])], int(columns.size[row]), int(columns.offset[row]))
            count += 1
        return count

    try:
        if cold:
            for file in files.values():
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        with ThreadPoolExecutor(num_threads) as pool:
            return sum(pool.map(read, np.array_split(rows, num_threads))) / (time.perf_counter() - start)
    finally:
        for file in files.values():
            os.close(file)


def copy_rate(num_threads: int, seconds: float) -> float:
    """Bytes a second from memory to memory, all threads together."""
    size = COPIED // num_threads

    def copy(_: int) -> float:
        source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)  # zeros would not be in memory
        count, start = 0, time.perf_counter()
        while not count or time.perf_counter() < start + seconds:
            np.copyto(target, source)
            count += size
        return count / (time.perf_counter() - start)

    with ThreadPoolExecutor(num_threads) as pool:
        return sum(pool.map(copy, range(num_threads)))


def load_rate(loader: Loader, seconds: float) -> tuple[Rate, int]:
    """The loader, epoch after epoch, for `seconds` from its first batch on, when all threads run; bytes an image."""
    count = 0
    clock: Clock | None = None
    deadline = float("inf")
    while time.perf_counter() < deadline:
        for batch in loader:
            if clock is None:
                clock, deadline, image = Clock(), time.perf_counter() + seconds, batch.images[0]
                continue
            count += int(batch.valid.sum())
            if time.perf_counter() > deadline:
                break
    assert clock is not None  # no split is empty
    return clock.rate(count), image.numel() * image.element_size()


def device_rate(seconds: float) -> float:
    """Bytes a second from pinned memory to the GPU."""
    source = torch.empty(COPIED, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device="cuda")
    target.copy_(source)
    torch.cuda.synchronize()
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize()
        count += COPIED
    return count / (time.perf_counter() - start)


def available_memory() -> int:
    """Bytes that programs could have without swapping, from /proc/meminfo."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return 0
