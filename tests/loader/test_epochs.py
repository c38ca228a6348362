"""Epochs in other clothes: as pairs, and in crops of another size each."""

from pathlib import Path

import pytest
import torch

from imagefeed.pipeline.loader.augmenter import Augmenter
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.loader.device import to_device
from imagefeed.pipeline.loader.options import LoaderOptions


def test_crops_of_another_size_each_epoch(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    loader = train.loader(crop_size=lambda epoch: 64 + 32 * epoch, batch_size=10, dtype="float16")
    for epoch in (0, 1, 5, 1):
        loader.set_epoch(epoch)
        fixed = train.loader(crop_size=64 + 32 * epoch, batch_size=10, dtype="float16")
        fixed.set_epoch(epoch)
        for batch, expected in zip(loader, fixed, strict=True):
            assert torch.equal(batch.images, expected.images) and torch.equal(batch.sample_ids, expected.sample_ids)
    state = {"seed": 0, "epoch": 3, "position": 20}
    loader.load_state_dict(state)
    assert next(iter(loader)).images.shape == (10, 3, 160, 160)
    with pytest.raises(ValueError, match="crop_size must be .* not 0"):
        train.loader(crop_size=lambda epoch: 0)
    with pytest.raises(TypeError, match="crop_size must be"):
        train.loader(crop_size=lambda epoch: 64.5)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="crop_size as a function of the epoch is for `Dataset.loader` alone"):
        Augmenter(train, LoaderOptions(crop_size=lambda epoch: 64))


def test_pairs_of_no_row_are_refused_before_they_can_come(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")  # 28 samples
    for batch_size, world_size, drop_last, good in (
        (10, 1, False, True),  # 8 are left
        (5, 2, False, True),  # 8: 5 and 3
        (4, 3, False, False),  # 4, for one rank alone
        (4, 3, True, True),
        (7, 4, False, True),  # none
        (20, 2, False, True),  # 20 and 8
        (30, 2, False, False),
    ):
        loader = train.loader(batch_size=batch_size, rank=0, world_size=world_size, drop_last=drop_last)
        if good:
            assert len(loader.pairs()) == len(loader)
            continue
        with pytest.raises(ValueError, match=f"not enough for a row on each of {world_size} ranks: give"):
            loader.pairs()
        with pytest.raises(ValueError, match="not enough for a row"):
            to_device(loader, "cpu").pairs()


def test_pairs_are_the_batches_without_their_padding(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    loader, again = (train.loader(batch_size=10, num_threads=2) for _ in range(2))
    pairs = loader.pairs()
    assert len(pairs) == len(loader) == 3 and pairs.sampler is loader
    for epoch in range(2):
        for (images, labels), batch in zip(pairs, again, strict=True):
            assert torch.equal(images, batch.images[batch.valid]) and torch.equal(labels, batch.labels[batch.valid])
        assert loader.state_dict() == {"seed": 0, "epoch": epoch + 1, "position": 0}
    device = [
        (images.shape[0], labels.tolist()) for images, labels in to_device(train.loader(batch_size=10), "cpu").pairs()
    ]
    assert device == [(len(labels), labels.tolist()) for _, labels in train.loader(batch_size=10).pairs()]
