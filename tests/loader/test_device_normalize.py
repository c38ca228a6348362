"""The arithmetic on the device is that of the slow twin, and what was drawn for a batch is what the kernel drew."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagefeed.pipeline.kernel.recipes import RECIPES
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.device_normalize import CropParams, DeviceNormalize, draw_all, normalize
from imagefeed.pipeline.loader.normalization import normalizations
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.support import reference


@pytest.fixture(scope="module")
def train(shards: Path) -> Dataset:
    return open_dataset(shards / "tar" / "train")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_are_those_of_the_slow_twin(dtype: str) -> None:
    rng = np.random.default_rng(0)
    size, count = 5, 6
    crops = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    mean = rng.uniform(0, 255, (9, 8, 3)).astype(np.float32)
    colour = rng.normal(0, 12, (count, 3)).astype(np.float32)
    scale = rng.uniform(0.01, 1, 3).astype(np.float32)
    top, left = rng.integers(0, 5, count), rng.integers(0, 4, count)
    mirror = rng.integers(0, 2, count).astype(bool)
    what = CropParams(*map(torch.from_numpy, (top, left, mirror, colour)))
    found = normalize(
        torch.from_numpy(crops), what, torch.from_numpy(mean), torch.from_numpy(scale), getattr(torch, dtype)
    )
    for i in range(count):
        part = mean[top[i] : top[i] + size, left[i] : left[i] + size]
        as_stored = crops[i][:, ::-1] if mirror[i] else crops[i]  # the twin mirrors at the end, pixels and mean
        expected = reference.augment(as_stored, int(mirror[i]), colour[i], part, scale, dtype, "NHWC")
        assert torch.equal(found[i], expected)


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_what_is_drawn_is_what_the_slow_twin_draws(train: Dataset, recipe: str) -> None:
    options = LoaderOptions(recipe=recipe, dtype="float32")  # type: ignore[arg-type]
    rules = normalizations(train, options)[0].rules
    ids, position = np.array([4, 0, 2**40, 7]), 30  # across the end of a chunk of 32
    keys = RECIPES[recipe].draw_keys(ids, position)
    sides = np.full(4, 256), np.full(4, 256)
    windows, colours = np.zeros((4, RECIPES[recipe].num_views, 5)), np.zeros((4, 3), np.float32)
    draw_all(rules, np.uint64(9), 3, keys, ids, *sides, windows, colours)
    for i, sample_id in enumerate(ids.tolist()):
        key = (position + i) // 32 if recipe == "alexnet-2012" else sample_id
        expected = reference.windows_of(recipe, 9, 3, key, 256, 256, 224)
        assert [tuple(window) for window in windows[i].tolist()] == expected
        if RECIPES[recipe].colour:
            assert np.allclose(colours[i], reference.random_colour(9, 3, sample_id, train.statistics), rtol=1e-5)
        else:
            assert not colours[i].any()


def test_padding_becomes_zero_whatever_is_in_it(train: Dataset) -> None:
    options: dict[str, Any] = {"batch_size": 4, "dtype": "uint8", "layout": "NHWC", "crop_size": 64}
    finish = DeviceNormalize(train.loader(**options), "float32", torch.device("cpu"))
    ids = np.array([3, 5, -1, -1])
    found = finish(torch.full((4, 64, 64, 3), 9, dtype=torch.uint8), ids, seed=0, epoch=0, position=0)
    assert found[:2].any(dim=(1, 2, 3)).all() and not found[2:].any()
