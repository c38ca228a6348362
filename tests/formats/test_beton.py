"""Our betons are, byte for byte, those of FFCV's own writer, and FFCV's own loader reads them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.formats.beton import PAGE_SIZE, BetonWriter
from imagefeed.pipeline.image.stored import RAW
from imagefeed.pipeline.loader.dataset import open_dataset

SIDE = 256  # so that a page, 8 MiB, ends within the 43rd raw image
COUNT = 50

STOCK = """
import sys, numpy as np
from ffcv.writer import DatasetWriter
from ffcv.fields import IntField, RGBImageField

class Images:
    def __init__(self, images): self.images = images
    def __len__(self): return len(self.images)
    def __getitem__(self, i): return self.images[i], i * 3 - 7

images = np.load(sys.argv[1])
fields = {"image": RGBImageField(write_mode="raw"), "label": IntField()}
DatasetWriter(sys.argv[2], fields, num_workers=1).from_indexed_dataset(Images(images), chunksize=len(images))
"""


def images_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def test_the_bytes_are_those_of_the_stock_writer(tmp_path: Path) -> None:
    images = images_of(COUNT)
    np.save(tmp_path / "images.npy", images)
    theirs, ours = tmp_path / "theirs.beton", tmp_path / "ours.beton"
    # In a process of its own: the stock writer forks, and waits for ever if that goes wrong.
    command = [sys.executable, "-c", STOCK, str(tmp_path / "images.npy"), str(theirs)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    with BetonWriter(ours, COUNT) as writer:
        for i, image in enumerate(images):
            writer.add(str(i), i * 3 - 7, image.tobytes(), RAW, SIDE, SIDE)
    assert ours.stat().st_size > 2 * PAGE_SIZE
    assert ours.read_bytes() == theirs.read_bytes()


def test_fewer_samples_than_capacity_is_a_whole_file(tmp_path: Path) -> None:
    from ffcv.reader import Reader

    path = tmp_path / "some.beton"
    with BetonWriter(path, 10) as writer:
        at = [writer.add(str(i), i, bytes([i]) * 12, RAW, 2, 2) for i in range(4)]
    reader = Reader(str(path))
    assert reader.num_samples == 4 and len(reader.alloc_table) == 4
    assert reader.metadata["f1"].tolist() == [0, 1, 2, 3]
    data = path.read_bytes()
    assert [data[offset : offset + 12] for offset in at] == [bytes([i]) * 12 for i in range(4)]


def test_an_image_larger_than_a_page_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="huge: .* do not fit"),
        BetonWriter(tmp_path / "b", 1) as writer,
    ):
        writer.add("huge", 0, bytes(PAGE_SIZE + 1), RAW, 1, 1)


READ = """
import sys, numpy as np
from ffcv.loader import Loader, OrderOption

for path in sys.argv[1:]:
    loader = Loader(path, batch_size=3, num_workers=1, order=OrderOption.SEQUENTIAL, drop_last=False)
    read = [(images.numpy().copy(), labels[:, 0].numpy().copy()) for images, labels in loader]  # it reuses its buffers
    images, labels = map(np.concatenate, zip(*read))
    np.savez(path + ".npz", images=images, labels=labels)
"""


@pytest.fixture(scope="module")
def read_by_ffcv(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`images` in shards of at most 14, raw/train and jpeg/train; beside each shard what a stock Loader with its own
    defaults reads of it: images (uint8 [N, H, W, 3]) and labels."""
    out = tmp_path_factory.mktemp("betons")
    for name in ("raw", "jpeg"):
        convert(images, out / name, ConvertOptions(format="beton", raw=name == "raw", shard_size=14))
    shards = sorted(out.glob("*/train/*.beton"))
    # In a process of its own: see `native.check_numba`. In one, because FFCV compiles in each what it needs.
    subprocess.run([sys.executable, "-c", READ, *map(str, shards)], check=True, timeout=300, capture_output=True)
    return out


# FFCV asks libjpeg-turbo for its fast inverse DCT and we for the accurate one, so JPEGs differ by a rounding.
@pytest.mark.parametrize(("form", "tolerance"), [("raw", 0), ("jpeg", 4)])
def test_stock_ffcv_reads_the_converted_shards(form: str, tolerance: int, read_by_ffcv: Path) -> None:
    dataset = open_dataset(read_by_ffcv / form / "train")
    ours = {
        int(id): image.numpy().astype(int)
        for batch in dataset.loader(recipe="eval", batch_size=4, dtype="uint8", layout="NHWC", crop_size=256)
        for image, _, id, valid in zip(*batch, strict=True)
        if valid
    }
    rows = dataset.samples.to_pylist()
    assert len(ours) == len(rows) == 28
    for number, shard in enumerate(dataset.manifest.shards):
        with np.load(dataset.path / f"{shard.name}.npz") as read:
            pixels, labels = read["images"].astype(int), read["labels"].tolist()
        stored = sorted((row for row in rows if row["shard"] == number), key=lambda row: row["offset"])
        assert labels == [row["label"] for row in stored]
        for image, row in zip(pixels, stored, strict=True):
            assert np.abs(image - ours[row["id"]]).max() <= tolerance


BOTH = """
import sys
from ffcv.loader import Loader
from imagefeed import open_dataset

next(iter(Loader(sys.argv[1] + "/shard-00000.beton", batch_size=2, num_workers=1)))
try:
    open_dataset(sys.argv[1]).loader()
except RuntimeError as error:
    print(error)
"""


def test_after_ffcvs_loader_ours_refuses_where_the_compiler_would_hang(shards: Path) -> None:
    command = [sys.executable, "-c", BOTH, str(shards / "beton" / "train")]
    said = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True).stdout
    assert "make imagefeed's loaders first, or use the two in processes of their own" in said
