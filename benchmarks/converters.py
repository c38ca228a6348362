"""What `bench_convert` compares: each writes the photographs of a folder at 256x256, JPEG of quality 90, from `workers`
processes, and ends when all is written.

The three others are written as a careful user would: OpenCV with one thread a process, its area filter, whole images
resized and then cropped. None of them takes statistics, keeps hashes, or looks at what it has written.
"""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.image.jpeg.codec import JpegCodec
from imagefeed.pipeline.image.pillow import load_square
from imagefeed.pipeline.runtime.executors import processes

SHARD_SIZE = 1000  # images
QUALITY = 90


def central_square(image: np.ndarray) -> np.ndarray:
    """The paper's geometry, as an OpenCV user makes it: uint8 [256, 256, 3]."""
    height, width = image.shape[:2]
    scale = 256 / min(height, width)
    size = max(256, round(width * scale)), max(256, round(height * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    top, left = (size[1] - 256) // 2, (size[0] - 256) // 2
    return image[top : top + 256, left : left + 256]


def read(path: str) -> np.ndarray:
    """An image file as OpenCV decodes it, uint8 [H, W, 3], BGR."""
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    assert image is not None, path
    return image


def shares(paths: list[Path], count: int) -> list[list[str]]:
    """The paths in `count` parts of about equal cost."""
    return [[str(path) for path in paths[share::count]] for share in range(count)]


class Photographs:
    """What an FFCV user writes: an indexable dataset of (uint8 RGB [256, 256, 3], label)."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        cv2.setNumThreads(1)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return cv2.cvtColor(central_square(read(str(self.paths[index]))), cv2.COLOR_BGR2RGB), 0


def ffcv(paths: list[Path], out: Path, workers: int) -> None:
    """FFCV's writer."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=QUALITY), "label": IntField()}
    writer = DatasetWriter(str(out / "train.beton"), fields, num_workers=workers)
    writer.from_indexed_dataset(Photographs(paths), chunksize=20)


def opencv_to_tar(share: tuple[int, list[str], str]) -> None:
    """One process of `opencv`: its images to a tar of their own."""
    import webdataset

    number, paths, out = share
    cv2.setNumThreads(1)
    with webdataset.TarWriter(f"{out}/{number}.tar", encoder=False) as tar:
        for key, path in enumerate(paths):
            _, data = cv2.imencode(".jpg", central_square(read(path)), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            tar.write({"__key__": f"{number}-{key:07}", "jpg": data.tobytes(), "cls": b"0"})


def opencv(paths: list[Path], out: Path, workers: int) -> None:
    """A pool of OpenCV processes, each writing with `webdataset.TarWriter`."""
    parts = [(number, share, str(out)) for number, share in enumerate(shares(paths, workers))]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.map(opencv_to_tar, parts, chunksize=1)


SQUARES: dict[bytes, np.ndarray] = {}  # of each different photograph, what it is encoded from


def codec_alone(paths: list[str]) -> None:
    """One process of `codec`."""
    jpeg = JpegCodec()
    for path in paths:
        data = Path(path).read_bytes()
        assert jpeg.decode(data, 10**9) is not None
        cv2.imencode(".jpg", SQUARES[data], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def codec(paths: list[Path], out: Path, workers: int) -> None:
    """The limit: libjpeg-turbo decodes each image, OpenCV's copy of it encodes one of 256x256; nothing is resized."""
    if not SQUARES:  # within the first run, which does not count
        SQUARES.update({data: load_square(data) for data in {path.read_bytes() for path in paths}})
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.map(codec_alone, shares(paths, workers), chunksize=1)


def imagefeed(format: str) -> Callable[[list[Path], Path, int], None]:
    """Ours, which also lists the source."""

    def write(paths: list[Path], out: Path, workers: int) -> None:
        # The standard's codes, as all others write them; ours cost a little more to write.
        options = ConvertOptions(
            format=format,  # type: ignore[arg-type]
            quality=QUALITY,
            shard_size=SHARD_SIZE,
            huffman="standard",
        )
        convert(paths[0].parents[1], out, options, processes(workers))

    return write


CONVERTERS: dict[str, Callable[[list[Path], Path, int], None]] = {
    "imagefeed, tar": imagefeed("tar"),
    "imagefeed, beton": imagefeed("beton"),
    "ffcv DatasetWriter": ffcv,
    "opencv pool, webdataset TarWriter": opencv,
    "libjpeg-turbo decode + encode alone": codec,
}
