"""Every `--resize`: whole images at the size that was asked for, as Pillow makes them; files as they are."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagefeed.pipeline.checks.statistics import take_statistics
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import MEAN_IMAGE, Manifest
from imagefeed.pipeline.dataset.tables import read_samples
from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.pillow import load_rgb
from imagefeed.pipeline.image.resize import Resize, crop_geometry
from imagefeed.pipeline.image.stored import JPEG, OTHER, RAW
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.subset import select
from tests.conftest import encoded, picture
from tests.support import reference


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes and many sizes; a grey PNG, a CMYK JPEG, and one that is cut short."""
    root = tmp_path_factory.mktemp("photographs")
    for name in ("ant", "bee"):
        (root / name).mkdir()
    for number, (height, width) in enumerate([(60, 90), (90, 60), (40, 40), (33, 71), (20, 200), (64, 48)]):
        (root / "ant" / f"{number}.jpg").write_bytes(encoded(picture(number, height, width), quality=95))
    (root / "bee" / "grey.png").write_bytes(encoded(picture(6, 50, 70)[:, :, 0], "PNG"))
    ink = np.dstack([picture(7, 45, 55), np.full((45, 55), 30, np.uint8)])
    (root / "bee" / "cmyk.jpg").write_bytes(encoded(ink, mode="CMYK"))
    (root / "bee" / "short.jpg").write_bytes(encoded(picture(8, 80, 80))[:1000])
    return root


def payloads(folder: Path) -> dict[str, tuple[dict, bytes]]:
    """Row and payload of each sample by its key."""
    manifest, found = Manifest.load(folder), {}
    for row in read_samples(folder).to_pylist():
        shard = (folder / manifest.shards[row["shard"]].name).read_bytes()
        found[row["key"]] = row, shard[row["offset"] : row["offset"] + row["size"]]
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # of 60x90, of 20x200
        ("paper", ((256, 256), (256, 256))),
        ("short:30", ((30, 45), (20, 200))),
        ("short:10", ((10, 15), (10, 100))),
        ("long:100", ((60, 90), (10, 100))),
        ("long:1", ((1, 1), (1, 1))),
    ],
)
def test_sizes(text: str, expected: tuple) -> None:
    resize = Resize.parse(text)
    assert tuple(crop_geometry(resize.rule, *size)[1:] for size in ((60, 90), (20, 200))) == expected


@pytest.mark.parametrize("text", ["", "short", "short:", "short:0", "long:-3", "long:70000", "256", "None", "paper:3"])
def test_any_other_resize_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="choose paper, none, short:N or long:N"):
        ConvertOptions(resize=text)


@pytest.mark.parametrize(("text", "side"), [("short:30", min), ("long:50", max)])
def test_a_whole_image_is_stored_as_the_slow_twin_makes_it(text: str, side, photographs: Path, tmp_path: Path) -> None:
    wanted = int(text.partition(":")[2])
    manifest = convert(photographs, tmp_path, ConvertOptions(resize=text))[tmp_path / "train"]
    stored = payloads(tmp_path / "train")
    assert len(stored) == 8 and manifest.num_quarantined == 1
    assert manifest.storage and (manifest.storage.resize, manifest.storage.size) == (text, wanted)
    pixels = []
    for key, (row, payload) in stored.items():
        image = load_rgb(next(photographs.glob(f"{key}.*")).read_bytes())
        scale = min(1, wanted / side(image.shape[:2]))
        size = round(image.shape[0] * scale), round(image.shape[1] * scale)
        assert (row["height"], row["width"], row["kind"]) == (*size, JPEG)
        if size != image.shape[:2]:
            image = reference.resized(image, size)
        assert payload == JpegCodec().encode(image, Coding(90)).tobytes()
        pixels.append(np.asarray(Image.open(io.BytesIO(payload))).reshape(-1, 3).astype(np.int64))
    assert manifest.statistics and manifest.statistics.sums == tuple(np.concatenate(pixels).sum(axis=0))
    assert MEAN_IMAGE not in manifest.files  # of several sizes


def test_images_that_come_out_of_one_size_have_a_mean_image(tmp_path: Path) -> None:
    (tmp_path / "in" / "ant").mkdir(parents=True)
    for number in range(5):
        image = encoded(picture(number, 40 * (number + 1), 60 * (number + 1)))
        (tmp_path / "in" / "ant" / f"{number}.jpg").write_bytes(image)
    folder = tmp_path / "out" / "train"
    convert(tmp_path / "in", tmp_path / "out", ConvertOptions(resize="short:40", shard_size=2, one_class=True))
    pixels = [np.asarray(Image.open(io.BytesIO(payload))) for _, payload in payloads(folder).values()]
    np.testing.assert_allclose(open_dataset(folder).mean_image, np.mean(pixels, axis=0), rtol=1e-6)


def test_none_copies_every_byte_and_looks_at_headers_alone(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    manifest = convert(photographs, tmp_path, ConvertOptions(resize="none", shard_size=4))[folder]
    assert manifest.num_samples == 9 and manifest.statistics is None and MEAN_IMAGE not in manifest.files
    kinds = {}
    for key, (row, payload) in payloads(folder).items():
        file = next(photographs.glob(f"{key}.*"))
        assert payload == file.read_bytes()
        with Image.open(file) as image:
            assert (row["width"], row["height"]) == image.size
        kinds[key] = row["kind"]
    assert {key for key, kind in kinds.items() if kind == OTHER} == {"bee/grey", "bee/cmyk"}
    # WebDataset decodes by suffix.
    names = set()
    for shard in folder.glob("*.tar"):
        with tarfile.open(shard) as tar:
            names |= {name.partition(".")[2] for name in tar.getnames() if name.startswith("bee/")}
    assert names == {"jpg", "png", "cls"}


def test_none_with_statistics_decodes_and_finds_what_is_damaged(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "train"
    manifest = convert(photographs, tmp_path / "a", ConvertOptions(resize="none", statistics=True))[folder]
    assert manifest.num_samples == 8 and manifest.num_quarantined == 1
    pixels = [load_rgb(payload).reshape(-1, 3).astype(np.int64) for _, payload in payloads(folder).values()]
    assert manifest.statistics and manifest.statistics.sums == tuple(np.concatenate(pixels).sum(axis=0))


def test_statistics_can_be_taken_later_and_are_the_same(photographs: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    for name in ("ant", "bee"):
        (good / name).mkdir()
        for file in sorted((photographs / name).iterdir()):
            if file.stem != "short":
                (good / name / file.name).write_bytes(file.read_bytes())
    made = convert(good, tmp_path / "a", ConvertOptions(resize="none", statistics=True))[tmp_path / "a" / "train"]
    convert(good, tmp_path / "b", ConvertOptions(resize="none"))
    assert take_statistics(open_dataset(tmp_path / "b" / "train")).manifest.statistics == made.statistics
    assert open_dataset(tmp_path / "b" / "train").statistics == made.statistics
    assert read_samples(tmp_path / "b" / "train").equals(read_samples(tmp_path / "a" / "train"))


def test_a_beton_of_files_holds_pixels_where_ffcv_could_not_decode(photographs: Path, tmp_path: Path) -> None:
    for format in ("tar", "beton"):
        options = ConvertOptions(format=format, resize="none", statistics=True)
        convert(photographs, tmp_path / format, options)
    tar, beton = (payloads(tmp_path / format / "train") for format in ("tar", "beton"))
    assert tar.keys() == beton.keys() and len(tar) == 8
    for key, (row, payload) in beton.items():
        assert row["kind"] == (RAW if key.startswith("bee/") else JPEG)
        expected = load_rgb(tar[key][1]).tobytes() if row["kind"] == RAW else tar[key][1]
        assert payload == expected
    batches = [
        torch.cat([batch.images for batch in open_dataset(tmp_path / format / "train").loader(
            recipe="resnet", batch_size=4, crop_size=24, shuffle=False)])
        for format in ("tar", "beton")
    ]  # fmt: skip
    assert torch.equal(*batches) and batches[0][:8].abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "none", "raw": True, "format": "beton"}, "choose one of the two"),
        ({"resize": "none", "format": "both"}, "one format at a time"),
        ({"statistics": True}, "has them anyway"),
        ({"limit": 0}, "at least 1 image"),
    ],
)
def test_options_that_contradict_each_other(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvertOptions(**options)


def test_some_classes_are_numbered_among_themselves(images: Path, tmp_path: Path) -> None:
    manifests = convert(images, tmp_path, ConvertOptions(classes=("cat", "ant")))
    for split, counts in (("train", [12, 8]), ("val", [3, 3])):
        assert [each.wnid for each in manifests[tmp_path / split].classes] == ["ant", "cat"]
        samples = read_samples(tmp_path / split)
        assert np.bincount(samples["label"]).tolist() == counts
        assert [key.split("/")[0] for key in samples["key"].to_pylist()] == ["ant"] * counts[0] + ["cat"] * counts[1]
    with pytest.raises(ValueError, match="has no class dog"):
        convert(images, tmp_path / "x", ConvertOptions(classes=("dog",)))


def test_a_limit_takes_images_from_all_over_the_source(images: Path) -> None:
    whole, some = open_source(images), select(open_source(images), limit=6)
    assert [len(table) for table in some.splits.values()] == [6, 6]
    keys, all_keys = some.splits["train"]["key"].to_pylist(), whole.splits["train"]["key"].to_pylist()
    assert keys == sorted(set(keys)) and set(keys) < set(all_keys)
    assert np.bincount(some.splits["train"]["label"]).tolist() == [3, 2, 1]  # of 12, 9 and 8
    assert select(whole, limit=100).splits["val"].equals(whole.splits["val"])
