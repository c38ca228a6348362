"""Dense crops, against Pillow and NumPy one crop at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagefeed.jobs.evaluation.crops import Dense, check_dense, crop_starts, dense_views, images_of, ten_views
from imagefeed.jobs.evaluation.scorer import grey_levels, score_batch
from imagefeed.model.alexnet import AlexNet
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from tests.conftest import encoded, picture
from tests.support.plain_evaluation import slow_views, stored_images
from tests.support.splits import Payload, write_split

DENSE = Dense(sides=(256, 300, 224), grid=2)


def test_dense_crops_and_their_mean_are_the_slow_twins(shards: Path) -> None:
    val, mean = open_dataset(shards / "tar" / "val"), open_dataset(shards / "tar" / "train").mean_image
    torch.manual_seed(1)
    net = AlexNet(num_classes=3, width=0.05, initialisation="he").eval()
    options: dict[str, Any] = {"recipe": "eval", "crop_size": 256, "batch_size": 3, "num_threads": 1}
    whole, pixels = next(iter(val.loader(**options))), next(iter(val.loader(dtype="uint8", layout="NHWC", **options)))
    views = list(dense_views(whole.images, 224, DENSE))
    found = score_batch([net], whole, ("centre", "ten-crop", "dense"), DENSE).scores["dense"]
    assert len(views) == 3 * 4 * 2
    for row in range(3):
        slow = slow_views(pixels.images[row].numpy(), mean, DENSE)
        for view, expected in zip(views, slow, strict=True):
            np.testing.assert_allclose(view[row].numpy(), expected, atol=2e-3)  # of 255 grey levels
        total = np.zeros(3)
        for crop in slow:
            with torch.no_grad():
                logits = net(torch.tensor(crop.copy())[None])[0].double().numpy()
            total += np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert found.true_probability[row] == pytest.approx(total[whole.labels[row]] / len(slow), rel=1e-3)


def test_the_other_protocols_are_the_same_to_the_bit_where_dense_crops_are_asked_for(shards: Path) -> None:
    val = open_dataset(shards / "tar" / "val")
    whole, ten = (
        val.loader(recipe=recipe, crop_size=size, batch_size=3, num_threads=1)  # type: ignore[arg-type]
        for recipe, size in (("eval", 256), ("ten-crop", 224))
    )
    cut, given = next(iter(whole)), next(iter(ten))
    for number, view in enumerate(ten_views(cut.images, 224)):
        np.testing.assert_array_equal(view, given.images[:, number])
    found = [grey_levels(val, loader.options, 224).mean_of(ten_views(cut.images, 224)[4]) for loader in (whole, ten)]
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("side", "grid", "expected"),
    [(256, 3, [0, 16, 32]), (300, 2, [0, 76]), (224, 3, [0, 0, 0]), (257, 1, [16]), (255, 4, [0, 10, 20, 31])],
)
def test_places_reach_from_edge_to_edge(side: int, grid: int, expected: list[int]) -> None:
    assert crop_starts(side, 224, grid) == expected


def test_images_that_are_not_square_or_too_small_are_refused(shards: Path, tmp_path: Path) -> None:
    val = open_dataset(shards / "tar" / "val")
    check_dense(val, "alexnet", 224, Dense())
    with pytest.raises(ValueError, match=r"dense_sides of at least that, not 256 and \(288, 200\)"):
        check_dense(val, "alexnet", 224, Dense(sides=(288, 200)))
    with pytest.raises(ValueError, match="recipe alexnet-2012 has not"):
        check_dense(val, "alexnet-2012", 224, Dense())

    def split_of(name: str, *shapes: tuple[int, int]) -> Dataset:
        data = encoded(picture(1, 9, 9))  # which is not looked at: the table says how large it is
        return write_split(tmp_path / name, [Payload(data, height=height, width=width) for height, width in shapes])

    check_dense(split_of("small", (224, 224)), "alexnet", 224, Dense())
    with pytest.raises(ValueError, match="of at least that, not 223 and"):
        check_dense(split_of("smaller", (223, 223)), "alexnet", 224, Dense())
    for name, shapes in {
        "wide": [(256, 300)],
        "several": [(256, 256), (300, 300)],
        "one-wide": [(256, 256), (256, 300)],
        "unknown": [(0, 0)],
    }.items():
        with pytest.raises(ValueError, match=f"{name}: dense crops need images that are stored square and of one size"):
            check_dense(split_of(name, *shapes), "alexnet", 224, Dense())


def test_pictures_are_those_of_the_samples_that_were_asked_for(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    stored = dict(zip(train.columns.id.tolist(), stored_images(shards / "tar", "train"), strict=True))
    late, early = (list(stored)[row] for row in (20, 3))
    found = images_of(train, (late, early, late))
    assert list(found) == [early, late]
    for number, image in found.items():
        np.testing.assert_array_equal(image, stored[number][16:240, 16:240])
    assert images_of(train, ()) == {}
