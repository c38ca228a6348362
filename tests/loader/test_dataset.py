"""A dataset as its users look at it: samples, labels, a line, a table with pictures."""

import base64
import io
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.loader.shown import SHOWN, line_of, name_of
from tests.support import reference


@pytest.mark.parametrize("format", ["tar", "beton"])
def test_a_sample_is_the_stored_image_and_its_label(shards: Path, format: str) -> None:
    train = open_dataset(shards / format / "train")
    for row in (0, 5, 27, -1, np.int64(3)):
        sample = train[row]  # type: ignore[index]
        image, label = sample
        assert image.dtype == torch.uint8 and isinstance(label, int)
        assert (image.permute(1, 2, 0).numpy() == reference.stored_image(train, range(28)[row])).all()
        assert label == train.targets[row]
    assert [label for _, label in train] == train.targets and len(train) == 28
    for row in (28, -29):
        with pytest.raises(IndexError, match=f"28 samples .* has no sample {row}"):
            train[row]
    with pytest.raises(TypeError, match="slice"):
        train[1:3]  # type: ignore[index]


def test_classes_and_targets_are_as_torchvision_has_them(images: Path, shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    assert train.class_to_idx == {"ant": 0, "bee": 1, "cat": 2}
    assert [train.targets.count(label) for label in range(3)] == [12, 8, 8]
    (whole,) = DataLoader(train, batch_size=28)  # type: ignore[arg-type]
    assert whole[0].shape == (28, 3, 256, 256) and whole[1].tolist() == train.targets


def test_a_damaged_sample_is_an_error_that_names_it(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards / "tar" / "train", tmp_path / "train")
    train = open_dataset(tmp_path / "train")
    file = tmp_path / "train" / train.manifest.shards[train.columns.shard[4]].name
    data = bytearray(file.read_bytes())
    data[train.columns.offset[4] + 400] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"{file.name}: sample {train.columns.id[4]} .*XXH3 differs"):
        open_dataset(tmp_path / "train")[4]


def test_a_dataset_is_a_line(shards: Path) -> None:
    path = shards / "tar" / "train"
    train = open_dataset(path)
    assert re.fullmatch(r"Dataset\('.*tar/train': 28 samples of 3 classes, tar\)", repr(train))
    loader = train.loader(batch_size=8, rank=1, world_size=2, dtype="float16", layout="channels_last")
    assert repr(loader).endswith(": 2 batches of 8, alexnet, float16 channels_last, rank 1 of 2)")
    long = SimpleNamespace(called="s3://" + "x" * 200 + "/train", manifest=train.manifest, classes=train.classes)
    assert name_of(long) == f"'...{'x' * 39}/train'"  # type: ignore[arg-type]
    assert max(map(len, (repr(train), repr(loader), line_of(train)))) <= 120


def test_a_notebook_shows_pictures_with_their_classes(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    page = train._repr_html_()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)"', page)
    rows = np.linspace(0, 27, SHOWN).astype(int)
    assert [name for _, name in pictures] == [train.classes[train.targets[row]].short for row in rows]
    for (data, _), row in zip(pictures, rows, strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(data)))
        expected = Image.fromarray(reference.stored_image(train, int(row)))
        expected.thumbnail((96, 96))
        assert shown.size == expected.size
        assert np.abs(np.asarray(shown, float) - np.asarray(expected, float)).mean() < 8
