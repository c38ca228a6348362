"""The loader on images of any size and format, with every recipe and option, gives what its slow twin gives."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from webdataset import TarWriter

from imagefeed.pipeline.checks.statistics import make_index
from imagefeed.pipeline.image.stored import JPEG, OTHER, RAW
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.conftest import encoded, picture
from tests.support import reference
from tests.support.splits import Payload, write_split

SCALED: list[dict[str, Any]] = [{}, {"resize": 256}]
SHAPES = [(256, 341), (256, 256), (400, 300), (300, 280), (260, 700), (256, 257)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Rectangles in every format: JPEGs of known and of unknown size, grey, progressive, CMYK, PNG, WebP, raw."""
    pictures = [picture(i, height, width) for i, (height, width) in enumerate(SHAPES * 2)]
    payloads = [Payload(encoded(image), height=len(image), width=image.shape[1]) for image in pictures[:3]]
    payloads += [Payload(encoded(image), hashed=False) for image in pictures[3:6]]
    payloads += [Payload(encoded(pictures[6][:, :, 0])), Payload(encoded(pictures[7], progressive=True))]
    cmyk = Image.fromarray(pictures[8]).convert("CMYK")
    payloads += [Payload(encoded(np.asarray(cmyk), mode="CMYK"))]
    payloads += [Payload(encoded(pictures[9], "PNG"), OTHER), Payload(encoded(pictures[10], "WEBP"), OTHER)]
    raw = pictures[11]
    payloads += [Payload(raw.tobytes(), RAW, *raw.shape[:2])]
    return write_split(tmp_path_factory.mktemp("mixed") / "train", payloads)


def agree(dataset: Dataset, train: Dataset, epoch: int = 0, **options: Any) -> int:
    """Compares an epoch with the slow twin; returns how many samples there were."""
    loader = dataset.loader(**options)
    loader.set_epoch(epoch)
    known = {name: value for name, value in options.items() if name not in ("batch_size", "num_threads", "shuffle")}
    place = 0
    for batch in loader:
        for i in batch.valid.nonzero().flatten().tolist():
            row = int(np.searchsorted(dataset.columns.id, int(batch.sample_ids[i])))
            expected = reference.sample_image(dataset, row, train, epoch, place=place, **known)
            assert torch.equal(batch.images[i], expected), (row, place)
            place += 1
    return place


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("recipe", ["alexnet", "alexnet-2012", "resnet", "eval", "ten-crop"])
def test_rectangles_in_every_format(mixed: Dataset, recipe: str, layout: str) -> None:
    for dtype, epoch in (("float32", 0), ("uint8", 3), ("float16", 1)):
        options = {"recipe": recipe, "layout": layout, "dtype": dtype, "batch_size": 5, "num_threads": 2}
        assert agree(mixed, mixed, epoch, resize=0, **options) == 12


@pytest.mark.parametrize("recipe", ["alexnet", "eval", "ten-crop"])
def test_images_scaled_before_the_crop(mixed: Dataset, recipe: Any) -> None:
    """As torchvision's Resize(256) and CenterCrop(224), and by default where the sizes differ."""
    assert agree(mixed, mixed, recipe=recipe, resize=256, batch_size=12) == 12
    by_default, asked = (
        torch.cat([batch.images for batch in mixed.loader(recipe=recipe, shuffle=False, batch_size=4, **options)])
        for options in SCALED
    )
    assert torch.equal(by_default, asked)


def test_small_images_are_enlarged_where_asked_and_an_error_where_not(tmp_path: Path) -> None:
    small = write_split(tmp_path / "train", [Payload(encoded(picture(i, 90 + i, 120))) for i in range(4)])
    assert agree(small, small, recipe="resnet", batch_size=4) == 4
    assert agree(small, small, recipe="eval", resize=256, batch_size=4) == 4
    with pytest.raises(ValueError, match=r"shard-00000.tar: sample 0 \(sample/0\): its image is smaller than the crop"):
        list(small.loader(recipe="eval", resize=0, batch_size=4, num_threads=1))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """70 images, more than two chunks of 32."""
    payloads = [Payload(encoded(picture(i, 60, 60)), JPEG, 60, 60) for i in range(70)]
    return write_split(tmp_path_factory.mktemp("many") / "train", payloads, np.full((60, 60, 3), 100.0))


def test_the_code_of_2012_shares_windows_in_the_order_of_the_epoch(many: Dataset, shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    assert agree(train, train, 2, recipe="alexnet-2012", batch_size=10, seed=4) == 28  # the mean is the centre's
    options: dict[str, Any] = {"recipe": "alexnet-2012", "dtype": "uint8", "crop_size": 32}
    assert agree(many, many, 2, batch_size=9, **options) == 70
    images: dict[int, list[torch.Tensor]] = {}
    for batch_size, world_size in ((70, 1), (3, 1), (4, 3)):
        for rank in range(world_size):
            for batch in many.loader(batch_size=batch_size, rank=rank, world_size=world_size, **options):
                for i in batch.valid.nonzero().flatten().tolist():
                    images.setdefault(int(batch.sample_ids[i]), []).append(batch.images[i])
    assert len(images) == 70
    assert all(torch.equal(one, two) and torch.equal(one, three) for one, two, three in images.values())


def test_colour_ends_when_asked(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    for recipe in ("alexnet", "alexnet-2012"):
        for epoch in (1, 2):
            assert agree(train, train, epoch, recipe=recipe, colour_epochs=2, batch_size=28) == 28


def test_the_mean_may_be_another_than_the_recipes(shards: Path) -> None:
    train, val = open_dataset(shards / "tar" / "train"), open_dataset(shards / "tar" / "val")
    for mean in ("window", "centre", "channel"):
        assert agree(val, train, recipe="ten-crop", mean=mean, batch_size=9) == 9
    (plain,), (divided,) = (val.loader(recipe="eval", normalize=on, batch_size=9) for on in (False, True))
    deviation = np.sqrt(np.diag(np.array(train.statistics.covariance)))
    factors = torch.from_numpy((1 / deviation).astype(np.float32)).reshape(3, 1, 1)
    assert torch.equal(plain.images * factors, divided.images)


@pytest.mark.parametrize("recipe", ["alexnet", "resnet", "eval"])
def test_a_tar_of_others_is_fed_like_our_own(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    with TarWriter(str(tmp_path / "others.tar")) as tar:
        for i, (height, width) in enumerate(SHAPES):
            image = {"png": encoded(picture(i, height, width), "PNG")} if i == 2 else {"jpg": picture(i, height, width)}
            tar.write({"__key__": f"{i:03d}", "cls": i % 3, **image})
    others = open_dataset(tmp_path / "others.tar")
    with pytest.raises(ValueError, match=r"imagefeed index .*others.tar --statistics"):
        others.loader(recipe=recipe)
    known = Dataset.open(make_index(tmp_path / "others.tar", with_statistics=True).path)
    scaled = {} if recipe == "resnet" else {"resize": 256}
    assert agree(others, known, recipe=recipe, dtype="uint8", batch_size=4, **scaled) == 6
    assert agree(known, known, recipe=recipe, batch_size=4, **scaled) == 6


def test_an_undecodable_image_of_another_format_is_an_error_with_a_name(tmp_path: Path) -> None:
    png = encoded(picture(0, 256, 256), "PNG")
    spoilt = write_split(tmp_path / "train", [Payload(png, OTHER), Payload(png[:500], OTHER)])
    with pytest.raises(ValueError, match=r"shard-00000.tar: sample 1 \(sample/1\): OSError: .*; leave it out"):
        list(spoilt.loader(batch_size=2, shuffle=False))


def test_an_image_of_a_hostile_size_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    data = bytearray(encoded(picture(0, 256, 256)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xea\x60\xea\x60"  # 60,000 x 60,000
    spoilt = write_split(tmp_path / "train", [Payload(bytes(data))])
    with pytest.raises(ValueError, match="has more than 178,956,970 pixels"):
        list(spoilt.loader(batch_size=1))


# Balanced classes


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Classes of 1, 9 and 3 samples, and one of none."""
    labels = [0] + [1] * 9 + [3] * 3
    payloads = [Payload(encoded(picture(i, 40, 40)), JPEG, 40, 40, label) for i, label in enumerate(labels)]
    return write_split(tmp_path_factory.mktemp("uneven") / "train", payloads, np.zeros((40, 40, 3)))


BALANCED: dict[str, Any] = {"per_class": 4, "crop_size": 32, "dtype": "uint8", "batch_size": 5}


def epochs(loader: Any, count: int) -> Iterator[list[tuple[int, int, bytes]]]:
    for _ in range(count):
        yield [
            (int(batch.sample_ids[i]), int(batch.labels[i]), batch.images[i].numpy().tobytes())
            for batch in loader
            for i in batch.valid.nonzero().flatten().tolist()
        ]


def test_every_class_comes_as_often(uneven: Dataset) -> None:
    loader = uneven.loader(**BALANCED)
    assert len(loader) == 3 and loader.num_samples == 12
    seen = set()
    for samples in epochs(loader, 12):
        assert sorted(label for _, label, _ in samples) == [0] * 4 + [1] * 4 + [3] * 4
        common = [sample_id for sample_id, label, _ in samples if label == 1]
        assert len(set(common)) == 4  # none twice while others wait
        assert [sum(sample_id == i for sample_id, _, _ in samples) for i in (10, 11, 12)] in (
            [2, 1, 1],
            [1, 2, 1],
            [1, 1, 2],
        )
        seen.update(common)
    assert seen == set(range(1, 10))  # and all of them in time


def test_a_sample_that_comes_again_is_augmented_anew(uneven: Dataset) -> None:
    (samples,) = epochs(uneven.loader(**BALANCED), 1)
    assert len({pixels for sample_id, _, pixels in samples if sample_id == 0}) == 4


def test_balanced_epochs_resume_and_share_out_like_others(uneven: Dataset) -> None:
    (whole,) = epochs(uneven.loader(**BALANCED), 1)
    ranks = [uneven.loader(**BALANCED | {"batch_size": 2, "rank": rank, "world_size": 2}) for rank in range(2)]
    parts = [next(epochs(rank, 1)) for rank in ranks]
    merged = [sample for i in range(0, 6, 2) for part in parts for sample in part[i : i + 2]]
    assert merged == whole
    first = uneven.loader(**BALANCED)
    next(iter(first))
    later = uneven.loader(**BALANCED | {"batch_size": 7})
    later.load_state_dict(first.state_dict())
    assert next(epochs(later, 1)) == whole[5:]


def test_balance_needs_chance() -> None:
    with pytest.raises(ValueError, match="per_class draws at random: it needs shuffle=True"):
        LoaderOptions(recipe="eval", per_class=3)


@pytest.mark.parametrize("shuffle", [True, False, "shards"])
def test_a_part_of_the_samples_comes_as_it_would_among_all(uneven: Dataset, shuffle: Any) -> None:
    options = {"crop_size": 32, "dtype": "uint8", "batch_size": 2, "shuffle": shuffle, "seed": 8}
    chosen = [11, 3, 4, 7, 0]
    part = uneven.loader(**options, sample_ids=chosen)
    assert len(part) == 3 and part.num_samples == 5
    for some, whole in zip(epochs(part, 2), epochs(uneven.loader(**options), 2), strict=True):
        assert some == [sample for sample in whole if sample[0] in chosen]
    ranks = [uneven.loader(**options, sample_ids=np.array(chosen), rank=rank, world_size=2) for rank in range(2)]
    assert sorted(sample[0] for rank in ranks for sample in next(epochs(rank, 1))) == sorted(chosen)


def test_a_part_of_the_samples_is_balanced(uneven: Dataset) -> None:
    (samples,) = epochs(uneven.loader(**BALANCED, sample_ids=[0, 5, 6, 10, 11]), 1)
    counts = Counter(sample_id for sample_id, _, _ in samples)
    assert counts == {0: 4, 5: 2, 6: 2, 10: 2, 11: 2}


@pytest.mark.parametrize("samples", [[3, 13], [3, 3], [-1], []])
def test_ids_that_are_not_there_are_refused(uneven: Dataset, samples: list[int]) -> None:
    with pytest.raises(ValueError, match="sample_ids must be ids of samples.parquet: "):
        uneven.loader(crop_size=32, dtype="uint8", sample_ids=samples)
