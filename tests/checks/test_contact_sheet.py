"""A contact sheet shows the images as the loader gets them, each in its cell."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagefeed.pipeline.checks.contact_sheet import contact_sheet
from imagefeed.pipeline.loader.dataset import open_dataset


def test_a_contact_sheet_shows_the_images(shards: Path, tmp_path: Path) -> None:
    dataset = open_dataset(shards / "tar" / "train")
    assert contact_sheet(dataset, tmp_path / "sheet.png", num_images=10, columns=4) == 10
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    first = dataset.samples.to_pylist()[0]
    payload = (dataset.path / dataset.manifest.shards[first["shard"]].name).read_bytes()[first["offset"] :][
        : first["size"]
    ]

    with Image.open(io.BytesIO(payload)) as image:
        image.thumbnail((170, 170))
        np.testing.assert_array_equal(pixels[6:176, 6:176], np.asarray(image))
    with pytest.raises(ValueError, match="ends with .png"):
        contact_sheet(dataset, tmp_path / "sheet.jpg")
    assert not (tmp_path / "sheet.jpg").exists()
