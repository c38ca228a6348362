"""The augmentation alone gives the loader's own bits for decoded images, and refuses what the kernel cannot take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagefeed.pipeline.image.stored import JPEG
from imagefeed.pipeline.loader.augmenter import Augmenter
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.conftest import encoded, picture
from tests.support import reference
from tests.support.splits import Payload, write_split


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """70 images, more than two chunks of 32."""
    payloads = [Payload(encoded(picture(i, 60, 60)), JPEG, 60, 60) for i in range(70)]
    return write_split(tmp_path_factory.mktemp("many") / "train", payloads, np.full((60, 60, 3), 100.0))


@pytest.mark.parametrize("recipe", ["alexnet", "alexnet-2012", "resnet", "ten-crop"])
def test_decoded_images_get_the_loaders_bits(many: Dataset, recipe: str) -> None:
    options: dict[str, Any] = {"recipe": recipe, "dtype": "float16", "layout": "NHWC", "seed": 5, "crop_size": 32}
    augment = Augmenter(many, LoaderOptions(**options, num_threads=3))
    loader = many.loader(batch_size=40, **options)
    loader.set_epoch(1)
    position = 0
    for batch in loader:
        ids = batch.sample_ids[batch.valid].numpy()
        images = [reference.stored_image(many, i) for i in ids]
        for given in (np.stack(images), images):
            assert torch.equal(augment(given, ids, epoch=1, position=position), batch.images[batch.valid])
        position += len(ids)


@pytest.mark.parametrize("recipe", ["alexnet", "ten-crop"])
def test_channels_last_is_the_loaders_for_whole_and_other_batches(many: Dataset, recipe: str) -> None:
    options: dict[str, Any] = {"recipe": recipe, "layout": "channels_last", "crop_size": 32, "batch_size": 8}
    augment = Augmenter(many, LoaderOptions(**options))
    batch = next(iter(many.loader(**options)))
    images = np.stack([reference.stored_image(many, i) for i in batch.sample_ids.tolist()])
    for count in (5, 8):
        found = augment(images[:count], batch.sample_ids[:count].numpy(), epoch=0)
        assert torch.equal(found, batch.images[:count]) and found.stride() == batch.images.stride()
        assert augment.shape == found.shape[1:]


def test_an_augmenter_refuses_what_the_kernel_would_read_beyond(shards: Path) -> None:
    for layout in ("NCHW", "NHWC"):
        augment = Augmenter(open_dataset(shards / "tar" / "train"), LoaderOptions(layout=layout))
        whole = np.zeros((256, 256, 3), np.uint8)
        augment([whole], np.array([4]), epoch=0)
        with pytest.raises(ValueError, match="sample 4: its image has 300x256 pixels and the mean image 256x256"):
            augment([whole, np.zeros((300, 256, 3), np.uint8)], np.array([3, 4]), epoch=0)
        for wrong in (whole.astype(np.float32), whole[:, :, :1], whole[0]):
            with pytest.raises(ValueError, match=r"sample 4: an image is uint8 \[H, W, 3\], not"):
                augment([wrong], np.array([4]), epoch=0)
        with pytest.raises(ValueError, match="1 images and 2 sample ids"):
            augment([whole], np.array([4, 5]), epoch=0)


def test_the_message_names_the_sample_that_is_too_small(shards: Path) -> None:
    augment = Augmenter(open_dataset(shards / "tar" / "train"), LoaderOptions(mean="channel"))
    with pytest.raises(ValueError, match="sample 9: its image is smaller than the crop"):
        augment([np.zeros((300, 300, 3), np.uint8), np.zeros((100, 300, 3), np.uint8)], np.array([4, 9]), epoch=0)


def test_a_seed_that_is_given_replaces_that_of_the_options(many: Dataset) -> None:
    options: dict[str, Any] = {"crop_size": 32, "dtype": "uint8"}
    ids = np.arange(5)
    images = np.stack([reference.stored_image(many, i) for i in range(5)])
    augment = Augmenter(many, LoaderOptions(**options, seed=1))
    other = Augmenter(many, LoaderOptions(**options, seed=2))
    assert torch.equal(augment(images, ids, epoch=0, seed=2), other(images, ids, epoch=0))
    assert not torch.equal(augment(images, ids, epoch=0), other(images, ids, epoch=0))


def test_a_batch_is_the_callers(many: Dataset) -> None:
    """Also where it has the size of the options' batches, whose memory is used again."""
    augment = Augmenter(many, LoaderOptions(crop_size=32, dtype="uint8", batch_size=5))
    images, ids = np.stack([reference.stored_image(many, i) for i in range(5)]), np.arange(5)
    first = augment(images, ids, epoch=0)
    before = first.clone()
    second = augment(images, ids, epoch=1)
    assert torch.equal(first, before) and not torch.equal(first, second)
