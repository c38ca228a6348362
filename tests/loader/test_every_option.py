"""Every pair of options, and every triple of recipe, mean and layout: as the slow twin has it, or refused at once."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagefeed.pipeline.image.stored import RAW
from imagefeed.pipeline.image.turbojpeg import WRONG_SIZE
from imagefeed.pipeline.kernel.fused import NOT_THE_MEANS, choose, view_of
from imagefeed.pipeline.loader.augmenter import Augmenter
from imagefeed.pipeline.loader.batches import BatchPlanner
from imagefeed.pipeline.loader.dataset import Dataset
from imagefeed.pipeline.loader.device import to_device
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.conftest import picture
from tests.support import reference
from tests.support.splits import Payload, write_split

HEIGHT, WIDTH = 20, 24
MEANS = ["window", "centre", "channel", (0.485, 0.456, 0.406), 120.5]
VALUES: dict[str, list[Any]] = {
    "recipe": ["alexnet", "alexnet-2012", "resnet", "eval", "ten-crop"],
    "mean": MEANS,
    "layout": ["NCHW", "NHWC", "channels_last"],
    "dtype": ["float32", "uint8"],
    "std": [(0.229, 0.224, 0.225), 58.0],
    "normalize": [True, False],
    "resize": [0, 13, 30],
    "crop_size": [8, 20, 21],
    "colour_epochs": [0, 1],
    "scale": [(0.5, 0.6)],
    "ratio": [(1.0, 1.0), (0.1, 9.0)],
    "hflip": [0, 0.25, 1],
    "interpolation": ["bilinear", "bicubic"],
}


def small(folder: Path) -> Dataset:
    """Six images of raw pixels and one size, with a mean image."""
    images = [picture(i, HEIGHT, WIDTH) for i in range(6)]
    payloads = [Payload(image.tobytes(), RAW, HEIGHT, WIDTH) for image in images]
    return write_split(folder / "train", payloads, np.mean(images, axis=0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small(tmp_path_factory.mktemp("options"))


def impossible(options: dict[str, Any]) -> bool:
    """What must be refused: stated here once more, from the meaning of the options."""
    recipe, size, resize = options.get("recipe", "alexnet"), options["crop_size"], options.get("resize")
    mean, std, dtype = options.get("mean"), options.get("std"), options.get("dtype")
    resized = recipe == "resnet"
    unit = None if mean is None or isinstance(mean, str) or std is None else (np.max(mean) <= 1) != (np.max(std) <= 1)
    return bool(
        unit
        or (resized and (resize or mean == "window"))
        or (not resized and size > (resize or HEIGHT))
        or (resize and mean in ("window", "centre"))
        or (mean == "centre" and size > HEIGHT and dtype != "uint8")
        or (std is not None and options.get("normalize") is False)
        or (options.get("colour_epochs") and not recipe.startswith("alexnet"))
        or (not resized and ("scale" in options or "ratio" in options))
        or ("hflip" in options and recipe in ("eval", "ten-crop"))
        or ("interpolation" in options and not resized and not resize)
    )


def settings() -> list[dict[str, Any]]:
    """All pairs, and all triples of recipe, mean and layout."""
    pairs = [
        {first: a, second: b}
        for first, second in itertools.combinations(VALUES, 2)
        for a, b in itertools.product(VALUES[first], VALUES[second])
    ]
    names = ("recipe", "mean", "layout")
    return pairs + [
        dict(zip(names, values, strict=True)) for values in itertools.product(*(VALUES[name] for name in names))
    ]


def compare(dataset: Dataset, options: dict[str, Any]) -> bool:
    """Whether the options are refused; otherwise an epoch must be the twin's."""
    options = {"crop_size": 8} | options
    options |= {"recipe": "resnet"} if {"scale", "ratio"} & options.keys() and "recipe" not in options else {}
    if impossible(options):
        with pytest.raises(ValueError, match="|".join(options)):
            dataset.loader(batch_size=6, num_threads=1, **options)
        return True
    assert right(dataset, options), options
    return False


def right(dataset: Dataset, options: dict[str, Any]) -> bool:
    """Whether the first batch of an epoch is the twin's, to float32's rounding."""
    batch = next(iter(dataset.loader(**{"batch_size": 6, "num_threads": 1} | options)))
    known = {name: value for name, value in options.items() if value is not None}
    return all(
        torch.allclose(
            batch.images[i].float(),
            reference.sample_image(dataset, row, dataset, 0, place=i, **known).float(),
            rtol=2e-6,
            atol=2e-5,
        )
        for i, row in enumerate(batch.sample_ids.tolist())
        if row >= 0
    )


def test_every_pair_of_options_is_right_or_refused(dataset: Dataset) -> None:
    refused = [compare(dataset, options) for options in settings()]
    assert (sum(refused), len(refused)) == (127, 632)  # so many, by `impossible`: neither none nor all


BOUNDS = """
import sys
from pathlib import Path
from tests.loader.test_every_option import compare, settings, small
dataset = small(Path(sys.argv[1]))
which = [each for each in settings() if each.get("layout") != "NCHW" and each.get("dtype") != "uint8"]  # of two kernels
assert sum(compare(dataset, options) for options in which) == 120
"""


def test_no_pair_of_options_reads_beyond_an_array(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    program = [sys.executable, "-c", BOUNDS, str(tmp_path)]
    result = subprocess.run(program, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("recipe", ["alexnet", "alexnet-2012", "eval", "ten-crop"])
def test_no_window_leaves_the_mean_image(dataset: Dataset, recipe: Any) -> None:
    """Rows are read by address, which bounds checks do not see: so where they begin is proved here."""
    planner = BatchPlanner(dataset, LoaderOptions(recipe=recipe, mean="window", crop_size=8, batch_size=6))
    normalization = planner.with_colour
    _, memory = planner.buffers.take()
    for epoch in range(200):
        job = planner.job(epoch, epoch, np.arange(6), 6 * epoch, memory)
        for i in range(6):
            assert choose(job, i, HEIGHT, WIDTH, normalization) == 0
            for window in job.windows[i]:
                view = view_of(window, WIDTH, normalization)
                for top, left in ((view.top, view.left), (view.mean_top, view.mean_left)):
                    assert 0 <= top <= HEIGHT - 8 and 0 <= left <= WIDTH - 8
    assert choose(job, 0, HEIGHT + 1, WIDTH, normalization) == NOT_THE_MEANS
    job.heights[0], job.widths[0] = HEIGHT, WIDTH
    assert choose(job, 0, HEIGHT, WIDTH - 1, normalization) == WRONG_SIZE


@pytest.mark.parametrize("recipe", VALUES["recipe"])
def test_numbers_need_no_statistics_and_finish_on_the_device(dataset: Dataset, recipe: str) -> None:
    options: dict[str, Any] = {"recipe": recipe, "layout": "NHWC", "crop_size": 8, "batch_size": 6}
    options |= {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    (expected,) = dataset.loader(dtype="float32", **options)
    (found,) = to_device(dataset.loader(dtype="uint8", **options), "cpu", finish="float32")
    assert torch.equal(found.images, expected.images)
    plain = options | ({"colour_epochs": 0} if recipe.startswith("alexnet") else {})
    assert not LoaderOptions(**plain).needs_statistics
    pixels = next(iter(dataset.loader(dtype="uint8", **plain))).images.float() / 255
    theirs = (pixels - torch.tensor(options["mean"])) / torch.tensor(options["std"])  # as torchvision's Normalize
    assert torch.allclose(next(iter(dataset.loader(dtype="float32", **plain))).images, theirs, rtol=2e-6, atol=2e-6)


def test_an_image_without_pixels_is_refused(dataset: Dataset) -> None:
    augment = Augmenter(dataset, LoaderOptions(recipe="resnet", crop_size=8))
    with pytest.raises(ValueError, match="sample 4: its image has no pixels"):
        augment([np.zeros((0, 24, 3), np.uint8)], np.array([4]), epoch=0)
