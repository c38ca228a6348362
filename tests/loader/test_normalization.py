"""What pixels become follows from the options and the statistics: mean, scale, colour and the scaled side."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.image.stored import JPEG
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.normalization import (
    check_sizes,
    colour_basis,
    normalizations,
    scaled_side,
    statistics_source,
)
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.conftest import encoded, picture
from tests.support.splits import Payload, write_split


@pytest.fixture(scope="module")
def train(shards: Path) -> Dataset:
    return open_dataset(shards / "tar" / "train")


def sizes(path: Path, *shapes: tuple[int, int]) -> Dataset:
    """A split of images of these heights and widths."""
    payloads = [Payload(encoded(picture(i, *shape)), JPEG, *shape) for i, shape in enumerate(shapes)]
    return write_split(path / "train", payloads)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_mean_image_is_laid_out_as_the_batch_and_mirrored_in_its_second_half(train: Dataset, layout: Any) -> None:
    means = normalizations(train, LoaderOptions(layout=layout))[0].means
    image = train.mean_image
    found = means.transpose(0, 2, 3, 1) if layout == "NCHW" else means.reshape(2, *image.shape)
    assert np.array_equal(found[0], image) and np.array_equal(found[1], image[:, ::-1])


def test_a_mean_of_the_centre_or_of_channels_is_that_of_a_crop_and_not_mirrored(train: Dataset) -> None:
    for mean, expected in (
        ("centre", train.mean_image[16:240, 16:240]),
        ("channel", np.full((224, 224, 3), train.statistics.mean, np.float32)),
    ):
        found = normalizations(train, LoaderOptions(layout="NHWC", mean=mean))[0]  # type: ignore[arg-type]
        assert not found.follows
        for half in found.means:
            assert np.array_equal(half, expected)


def test_a_channel_without_variance_is_not_divided_by(tmp_path: Path) -> None:
    """Raw pixels, red is 7 and blue is 0 in all of them: the mean leaves 0, and no division makes it another number."""
    images = [picture(number, 40, 40).copy() for number in range(4)]
    for image in images:
        image[..., 0], image[..., 2] = 7, 0
    out = tmp_path / "out"
    for number, image in enumerate(images):
        (tmp_path / "in" / "ant").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "ant" / f"{number}.png").write_bytes(encoded(image, "PNG"))
    convert(tmp_path / "in", out, ConvertOptions(format="beton", raw=True, resize="short:40", one_class=True))
    dataset = open_dataset(out / "train")
    with np.errstate(all="raise"):
        loader = dataset.loader(
            recipe="eval", crop_size=40, batch_size=4, normalize=True, mean="channel", layout="NHWC"
        )
    (batch,) = loader
    assert batch.images[..., [0, 2]].abs().max() == 0
    assert abs(float(batch.images[..., 1].std(correction=0)) - 1) < 1e-4


def test_the_scale_is_one_over_the_deviation_and_what_shrinks_while_there_is_colour(train: Dataset) -> None:
    deviation = np.sqrt(np.diag(np.array(train.statistics.covariance)))
    for recipe, with_colour, without in (
        ("alexnet", np.ones(3), np.ones(3)),
        ("alexnet-2012", np.ones(3) / 1.1, np.ones(3)),
        ("resnet", 1 / deviation, 1 / deviation),
    ):
        pair = normalizations(train, LoaderOptions(recipe=recipe))  # type: ignore[arg-type]
        for found, expected in zip(pair, (with_colour, without), strict=True):
            assert np.allclose(found.scale.reshape(-1, 3), expected, rtol=1e-6)


def test_colour_has_the_covariance_of_a_hundredth_of_the_pixels(train: Dataset) -> None:
    """A tenth of the deviation along each component is a hundredth of the covariance."""
    basis = colour_basis(train.statistics)
    assert np.allclose(basis @ basis.T, 0.01 * np.array(train.statistics.covariance), rtol=1e-6, atol=1e-6)
    with_colour, without = normalizations(train, LoaderOptions())
    assert np.array_equal(with_colour.rules.basis, basis) and not without.rules.basis.any()
    assert not normalizations(train, LoaderOptions(recipe="eval"))[0].rules.basis.any()


def test_a_side_is_scaled_where_images_differ_or_the_options_say_so(tmp_path: Path) -> None:
    equal = sizes(tmp_path / "equal", (256, 300), (400, 256))  # shorter sides
    mixed = sizes(tmp_path / "mixed", (256, 300), (255, 300))
    assert scaled_side(equal, LoaderOptions()) == 0
    assert scaled_side(mixed, LoaderOptions()) == 256
    assert scaled_side(mixed, LoaderOptions(crop_size=112)) == 128
    for dataset in (equal, mixed):
        assert scaled_side(dataset, LoaderOptions(resize=300)) == 300
        assert scaled_side(dataset, LoaderOptions(resize=0)) == 0
    with pytest.raises(ValueError, match="choose a crop_size below 257, or give `resize`"):
        check_sizes(equal, LoaderOptions(crop_size=257), 0)
    assert scaled_side(equal, LoaderOptions(crop_size=257, recipe="resnet")) == 0  # which enlarges by itself


def test_statistics_are_those_asked_for_else_of_the_training_split(shards: Path, train: Dataset) -> None:
    val = open_dataset(shards / "tar" / "val")
    assert statistics_source(train, LoaderOptions()) is train
    assert statistics_source(val, LoaderOptions()).called == str(train.path)
    assert statistics_source(train, LoaderOptions(statistics=val.path)).called == str(val.path)


def test_uint8_asks_for_no_statistics(shards: Path, tmp_path: Path) -> None:
    found = normalizations(sizes(tmp_path, (256, 256)), LoaderOptions(dtype="uint8", recipe="resnet"))[0]
    assert not found.means.any() and (found.scale == 1).all() and not found.rules.basis.any()
