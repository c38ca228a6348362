"""Our JPEG decoder beside libjpeg-turbo, stage by stage, and the whole loader with either; one thread.

    python -m benchmarks.bench_decoder --source DIR

DIR is a folder of photographs; each is brought to 256x256 (`pillow.load_square`) and encoded as 4:2:0. Contenders take
turns within a run; a figure is the time of one image, in microseconds. The loader's row is a whole epoch of the
`alexnet` recipe, float16 channels-last: hash, decode, crop, mirror, colour, mean, batch, hand-over.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tyro

from benchmarks.record import record
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.image.decoder import Decoder, decode, decode_part, examine, new_decoder, planes_of
from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.jpeg.planes import pixel_row
from imagefeed.pipeline.image.pillow import load_square
from imagefeed.pipeline.image.stored import HuffmanTables
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.loader.loader import Loader

SIDE, CROP = 256, 224


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    quality: int = 90
    huffman: HuffmanTables = "standard"
    """Codes of the JPEGs, as in a conversion."""
    repeats: int = 7
    """Measurements of each contender, in turn."""


@njit
def in_full(decoder: Decoder, data: np.ndarray, image: np.ndarray) -> int:
    """Header to RGB."""
    return decode(decoder, examine(decoder, data), data, image)


@njit
def cropped(decoder: Decoder, data: np.ndarray, window: np.ndarray, colours: bool) -> bool:
    """Header to the samples of a window, and on to its rows of RGB unless without `colours`."""
    found = examine(decoder, data)
    done = decode_part(decoder, found, data, window, True)
    planes = planes_of(decoder, found)
    for y in range(int(window[0, 2]) if colours else 0):
        pixel_row(planes, int(window[0, 0]) + y, int(window[0, 1]), int(window[0, 3]), planes.row.ctypes.data)
    return done


def epoch(loader: Loader) -> Callable[[], int]:
    """One epoch; returns how many images it gave."""
    return lambda: sum(int(batch.valid.sum()) for batch in loader)


def each(images: list[np.ndarray], function: Callable[[np.ndarray], Any]) -> Callable[[], int]:
    """`function` on each of `images`; returns how many they are."""

    def run() -> int:
        for image in images:
            function(image)
        return len(images)

    return run


def main(config: BenchConfig) -> None:
    """Prints the table and records its rows."""
    codec, coding = JpegCodec(), Coding(config.quality, huffman=config.huffman)
    paths = sorted(path for path in config.source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    images = [codec.encode(load_square(path.read_bytes()), coding).copy() for path in paths]
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    window, nothing = np.array([[16.0, 17, CROP, CROP, 0]]), np.array([[0.0, 0, 1, 1, 0]])
    with tempfile.TemporaryDirectory() as folder:
        convert(config.source, Path(folder) / "data", ConvertOptions(quality=config.quality, huffman=config.huffman))
        train = open_dataset(Path(folder) / "data" / "train")
        turbo, own = (new_decoder(name, SIDE * SIDE) for name in ("turbojpeg", "own"))
        loaders = {
            name: train.loader(dtype="float16", layout="NHWC", num_threads=1, batch_size=40, per_class=8, decoder=name)
            for name in ("turbojpeg", "own")
        }
        contenders = {
            "libjpeg-turbo, in full": each(images, lambda data: in_full(turbo, data, image)),
            "own, in full": each(images, lambda data: in_full(own, data, image)),
            "own, rows of a crop": each(images, lambda data: cropped(own, data, window, True)),
            "own, samples of a crop": each(images, lambda data: cropped(own, data, window, False)),
            "own, entropy decoding": each(images, lambda data: cropped(own, data, nothing, False)),
            "loader with libjpeg-turbo": epoch(loaders["turbojpeg"]),
            "loader with our own": epoch(loaders["own"]),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(config.repeats + 1):
            for name, run in contenders.items():
                started = time.perf_counter()
                num_images = run()
                if turn > 0:  # the first one warms up
                    times[name].append(1e6 * (time.perf_counter() - started) / num_images)
    bare = median(times["libjpeg-turbo, in full"])
    size = sum(len(data) for data in images) / len(images)
    print(
        f"{len(images)} images of {size:.0f} bytes\n{'us an image':28} {'min':>7} {'median':>7} {'max':>7} {'share':>7}"
    )
    for name, values in times.items():
        print(f"{name:28} {min(values):7.1f} {median(values):7.1f} {max(values):7.1f} {bare / median(values):7.2f}")
        stored = {"quality": config.quality, "huffman": config.huffman, "mean_bytes": size}
        record("decoder", name, {"microseconds": values, **stored})


if __name__ == "__main__":
    main(tyro.cli(BenchConfig, description=__doc__))
