"""Batches on the device: the loader's own values to the bit, its place, its errors; on a GPU where there is one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.device import to_device

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")),
]
OPTIONS: dict[str, Any] = {"batch_size": 5, "seed": 9, "layout": "NHWC", "crop_size": 64}


@pytest.fixture(scope="module")
def train(shards: Path) -> Dataset:
    return open_dataset(shards / "tar" / "train")


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x.cpu(), y.cpu()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("recipe", ["alexnet", "alexnet-2012", "resnet", "ten-crop"])
def test_finished_there_it_is_what_the_loader_gives(train: Dataset, device: str, dtype: Any, recipe: str) -> None:
    options = OPTIONS | {"recipe": recipe} | ({"colour_epochs": 1} if recipe.startswith("alexnet") else {})
    expected = train.loader(**options, dtype=dtype)
    found = to_device(train.loader(**options, dtype="uint8"), device, finish=dtype)
    for _ in range(2):  # with colour, and without
        pairs = list(zip(expected, found, strict=True))
        assert len(pairs) == len(found) == 6
        assert all(same(*pair) for pair in pairs)
        assert all(part.device.type == device for _, batch in pairs for part in batch)
    assert not pairs[-1][1].valid.all()  # the last one is padded


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recipe", ["alexnet", "ten-crop"])
@pytest.mark.parametrize("finish", [None, "float16"])
def test_channels_last_stays_so(train: Dataset, device: str, recipe: str, finish: str | None) -> None:
    options = OPTIONS | {"recipe": recipe, "layout": "channels_last"}
    expected = train.loader(**options | {"dtype": finish or "float32"})
    loader = train.loader(**options | {"dtype": "uint8" if finish else "float32"})
    found = to_device(loader, device, finish=finish)
    for a, b in zip(expected, found, strict=True):
        assert same(a, b)
        assert a.images.stride() == b.images.stride()
        assert b.images.flatten(0, -4).is_contiguous(memory_format=torch.channels_last)


def test_ranks_and_resuming_are_finished_alike(train: Dataset) -> None:
    options = OPTIONS | {"recipe": "alexnet-2012", "rank": 1, "world_size": 2}
    expected = iter(train.loader(**options))
    next(expected)
    found = to_device(train.loader(**options, dtype="uint8"), "cpu", finish="float32")
    found.load_state_dict({"seed": 9, "epoch": 0, "position": 10})
    assert all(same(*pair) for pair in zip(expected, found, strict=True))


@pytest.mark.parametrize("ahead", [1, 3])
def test_its_place_is_the_callers(train: Dataset, ahead: int) -> None:
    loader, feed = train.loader(**OPTIONS), to_device(train.loader(**OPTIONS), "cpu", ahead=ahead)
    assert feed.state_dict() == loader.state_dict()
    for a, b in zip(loader, feed, strict=True):
        assert same(a, b)
        assert feed.state_dict() == loader.state_dict()
    assert feed.state_dict() == loader.state_dict() == {"seed": 9, "epoch": 1, "position": 0}
    for _ in feed:
        state = feed.state_dict()
        break
    later = to_device(train.loader(**OPTIONS), "cpu")
    later.load_state_dict(state)
    loader.load_state_dict(state)
    assert all(same(*pair) for pair in zip(loader, later, strict=True))
    feed.set_epoch(5)
    assert feed.state_dict() == {"seed": 9, "epoch": 5, "position": 0}


def test_an_error_comes_after_the_batches_before_it(train: Dataset, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(train.path, tmp_path / "train")
    damaged = open_dataset(tmp_path / "train")
    options = OPTIONS | {"shuffle": False}
    row = 12  # in the third batch
    shard = tmp_path / "train" / damaged.manifest.shards[damaged.columns.shard[row]].name
    data = bytearray(shard.read_bytes())
    data[int(damaged.columns.offset[row]) + 40] ^= 255
    shard.write_bytes(data)
    feed, taken = iter(to_device(damaged.loader(**options), "cpu")), 0
    with pytest.raises(ValueError, match=r"sample \d+ \(.*\): its bytes are not those"):
        for _ in feed:
            taken += 1
    assert taken == 2


def test_what_does_not_suit_is_refused(train: Dataset) -> None:
    with pytest.raises(ValueError, match="comes as dtype='uint8', layout='NHWC' or 'channels_last'"):
        to_device(train.loader(**OPTIONS), "cpu", finish="float32")
    with pytest.raises(ValueError, match="ahead must be at least 1"):
        to_device(train.loader(**OPTIONS), "cpu", ahead=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_pinned_batches_survive_their_copies(train: Dataset) -> None:
    loader = train.loader(**OPTIONS, pin_memory=True)
    kept = list(to_device(loader, "cuda", ahead=4))
    assert all(same(*pair) for pair in zip(train.loader(**OPTIONS), kept, strict=True))
