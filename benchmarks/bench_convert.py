"""Sharding speed beside FFCV's own writer: the same photographs, the same geometry, JPEG at quality 90, alternating.

    python -m benchmarks.bench_convert --source DIR --workers 2 --repeats 5

FFCV's `DatasetWriter` has no paper geometry, so its dataset decodes, resizes and crops as its users do, with OpenCV
(area filter), and the writer encodes. It takes no statistics and keeps no hashes; imagefeed does both, also decodes
every JPEG again that it has written, and its time includes listing the source. Each image is used `copies` times.
Start-up of the processes is part of the time on both sides.
"""

import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro

from benchmarks.record import record
from pipeline.conversion import convert
from pipeline.options import ConvertOptions
from pipeline.runners import processes
from pipeline.sources.table import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with a folder a class, of photographs."""
    copies: int = 20
    """How often each image is used."""
    workers: int = 2
    """Processes."""
    repeats: int = 5
    """Runs of each writer, alternating."""


class Photographs:
    """What an FFCV user writes: an indexable dataset of (uint8 RGB [256, 256, 3], label)."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        cv2.setNumThreads(1)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        image = cv2.imread(str(self.paths[index]), cv2.IMREAD_COLOR)
        assert image is not None, self.paths[index]
        height, width = image.shape[:2]
        scale = 256 / min(height, width)
        size = max(256, round(width * scale)), max(256, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        top, left = (size[1] - 256) // 2, (size[0] - 256) // 2
        return cv2.cvtColor(image[top : top + 256, left : left + 256], cv2.COLOR_BGR2RGB), 0


def ffcv(source: Path, out: Path, workers: int) -> None:
    """FFCV's writer."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=90), "label": IntField()}
    dataset = Photographs(sorted(source.glob("*/*")))
    DatasetWriter(str(out / "train.beton"), fields, num_workers=workers).from_indexed_dataset(dataset, chunksize=20)


def imagefeed(source: Path, out: Path, workers: int) -> None:
    """Ours, to beton."""
    convert(source, out, ConvertOptions(format="beton", shard_size=1000), processes(workers))


def copies_of(source: Path, copies: int, into: Path) -> int:
    """Fills `into` with `copies` copies of each image; returns how many images that makes."""
    originals = [path for path in sorted(source.glob("*/*")) if path.suffix.lower()[1:] in SUFFIXES]
    for path in originals:
        (into / path.parent.name).mkdir()
        for copy in range(copies):
            shutil.copy(path, into / path.parent.name / f"{path.stem}_{copy}{path.suffix}")
    return len(originals) * copies


def main(config: BenchConfig) -> None:
    """Runs both writers in turn and records the rates."""
    rates: dict[str, list[float]] = {"imagefeed": [], "ffcv DatasetWriter": []}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        count = copies_of(config.source, config.copies, source)
        for _ in range(config.repeats):
            for name, write in (("imagefeed", imagefeed), ("ffcv DatasetWriter", ffcv)):
                out = Path(scratch, "out")
                out.mkdir()
                start = time.perf_counter()
                write(source, out, config.workers)
                rates[name].append(count / (time.perf_counter() - start))
                shutil.rmtree(out)
    for name, values in rates.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:20} {low:7.0f} {middle:7.0f} {high:7.0f} images/s (min, median, max of {len(values)})")
        record(
            "convert",
            name,
            {"images_per_second": values, "median": middle, "images": count, "workers": config.workers},
        )


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
