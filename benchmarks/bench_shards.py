"""What the options of a conversion do to bytes, pixels and the loader's speed: one alternating run.

    python -m benchmarks.bench_shards --source DIR

Each setting is the whole `alexnet` recipe, float16 channels-last, over tars of the same photographs, each several times
an epoch. Times are of the processor, of all threads together, microseconds an image, so that a busy machine matters
little. `share` is of libjpeg-turbo's bare full decoding of the ordinary JPEGs (quality 90, 4:2:0, the standard's
tables). PSNR is that of the decoded pixels against the resized ones, dB, mean over the photographs.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
import tyro

from benchmarks.bench_convert import copies_of
from benchmarks.bench_decoder import epoch
from benchmarks.record import record
from imagefeed.pipeline.bench.ceilings import decode_all
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.pillow import load_rgb, load_square
from imagefeed.pipeline.image.stored import HuffmanTables, Sampling
from imagefeed.pipeline.loader.dataset import open_dataset

Setting = tuple[int, Sampling, HuffmanTables]
ORDINARY: Setting = (90, "4:2:0", "standard")
SETTINGS: tuple[Setting, ...] = (
    ORDINARY,
    *((quality, "4:2:0", "shared") for quality in (95, 90, 85, 80, 75)),
    (80, "4:2:0", "standard"),
    (90, "4:4:4", "shared"),
)


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    copies: int = 15
    """How often each photograph comes in an epoch."""
    batch_size: int = 128
    repeats: int = 7
    """Epochs of each setting, alternating."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of decoding threads."""


def looks(paths: list[Path], setting: Setting) -> tuple[float, float]:
    """Mean bytes of an image, and mean PSNR, dB."""
    quality, sampling, huffman = setting
    codec, coding = JpegCodec(), Coding(quality, sampling, huffman)
    sizes, ratios = [], []
    for path in paths:
        image = load_square(path.read_bytes())
        payload = codec.encode(image, coding).tobytes()
        error = np.mean((load_rgb(payload).astype(float) - image) ** 2)
        sizes.append(len(payload))
        ratios.append(10 * np.log10(255**2 / error))
    return mean(sizes), mean(ratios)


def main(config: BenchConfig) -> None:
    """Prints the table and records its rows."""
    paths = sorted(path for path in config.source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    with tempfile.TemporaryDirectory() as scratch:
        copied = Path(scratch) / "source"
        copied.mkdir()
        copies_of(config.source, config.copies, copied)
        splits = {}
        for setting in SETTINGS:
            quality, sampling, huffman = setting
            out = Path(scratch) / f"{quality}{sampling.replace(':', '')}{huffman}"
            options = ConvertOptions(quality=quality, sampling=sampling, huffman=huffman)
            splits[setting] = next(iter(convert(copied, out, options)))
        for threads in config.threads:
            compare(config, {setting: looks(paths, setting) for setting in SETTINGS}, splits, threads)


def compare(
    config: BenchConfig, seen: dict[Setting, tuple[float, float]], splits: dict[Setting, Path], threads: int
) -> None:
    """All settings with `threads` threads."""
    bare = open_dataset(splits[ORDINARY])
    rows = np.random.default_rng(0).permutation(len(bare))
    epochs: dict[Setting | None, Callable[[], int]] = {None: lambda: decode_all(bare, rows, threads)}
    for setting, split in splits.items():
        loader = open_dataset(split).loader(
            num_threads=threads, batch_size=config.batch_size, dtype="float16", layout="NHWC"
        )
        epochs[setting] = epoch(loader)
    rates: dict[Setting | None, list[float]] = {key: [] for key in epochs}
    costs: dict[Setting | None, list[float]] = {key: [] for key in epochs}
    for turn in range(config.repeats + 1):
        for key, run in epochs.items():
            began, used = time.perf_counter(), time.process_time()
            num_images = run()
            if turn > 0:  # the first one warms up
                rates[key].append(num_images / (time.perf_counter() - began))
                costs[key].append(1e6 * (time.process_time() - used) / num_images)
    print(f"\n{threads} threads{'':20} bytes   PSNR      us: min median    max  share   images/s")
    for key, values in costs.items():
        name = "bare decode" if key is None else " ".join(map(str, key))
        size, ratio = seen[ORDINARY if key is None else key]
        share = median(costs[None]) / median(values)
        speed = f"{min(values):13.1f} {median(values):6.1f} {max(values):6.1f} {share:6.2f} {median(rates[key]):10.0f}"
        print(f"{name:26} {size:8.0f} {ratio:6.2f} {speed}")
        figures = {"threads": threads, "bytes": size, "psnr_db": ratio, "cpu_microseconds": values, "share": share}
        record("shards", name, {**figures, "images_per_second": rates[key]})


if __name__ == "__main__":
    main(tyro.cli(BenchConfig, description=__doc__))
