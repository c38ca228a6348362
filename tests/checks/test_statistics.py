"""Statistics that are taken again are those of the conversion, and those of other pixels are found."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from imagefeed.pipeline.checks.statistics import recompute, take_statistics
from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import MEAN_IMAGE, QUARANTINE, Manifest
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.loader.dataset import open_dataset


@pytest.fixture(params=["tar", "beton"])
def split(request: pytest.FixtureRequest, shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards / request.param / "train", tmp_path / "train")
    return tmp_path / "train"


def test_statistics_of_other_pixels_are_found(split: Path) -> None:
    record = json.loads((split / "manifest.json").read_text())
    record["statistics"]["sums"][1] += 1
    mean = np.load(split / MEAN_IMAGE)
    mean[3, 4, 1] += 0.01
    np.save(split / MEAN_IMAGE, mean)
    record["files"][MEAN_IMAGE] = file_sha256(split / MEAN_IMAGE)
    (split / "manifest.json").write_text(json.dumps(record))
    of_sums, of_mean = recompute(open_dataset(split))
    assert "sums is" in of_sums and "most so at (3, 4, 1)" in of_mean
    assert verify(open_dataset(split)) == [of_sums, of_mean]


def test_statistics_taken_later_are_those_of_a_conversion_that_decodes(images: Path, tmp_path: Path) -> None:
    """Other files of the split keep the digests that they had: damage to them stays known."""
    convert(images / "val", tmp_path / "now", ConvertOptions(resize="none", statistics=True))
    convert(images / "val", tmp_path / "later", ConvertOptions(resize="none"))
    folder = tmp_path / "later" / "train"
    before = Manifest.load(folder)
    (folder / QUARANTINE).write_bytes((folder / QUARANTINE).read_bytes() + b" ")
    take_statistics(open_dataset(folder))
    now, later = Manifest.load(tmp_path / "now" / "train"), Manifest.load(folder)
    assert later.statistics == now.statistics and before.statistics is None
    assert later.files == before.files
    assert [QUARANTINE in fault for fault in verify(open_dataset(folder))] == [True]
