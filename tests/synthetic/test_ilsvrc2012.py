"""The drawn dataset has the layout of the real downloads, the same bytes each time, and harms nothing."""

import io
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image, UnidentifiedImageError

from imagefeed.pipeline.synthetic.drawing import FIGURES, HUES, _outlines, draw
from imagefeed.pipeline.synthetic.ilsvrc2012 import (
    DEVKIT,
    EXIF_ORIENTATION,
    THINGS,
    TRAIN,
    VAL,
    SampleConfig,
    make_sample,
    wnid,
)

SMALL = SampleConfig(num_classes=6, train_images_per_class=4, val_images_per_class=2, min_side=40, max_side=90)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder, SMALL)
    return folder


def members(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]


def train_images(folder: Path) -> dict[str, bytes]:
    inner = members((folder / TRAIN).read_bytes())
    assert list(inner) == sorted(inner)
    for name, tar in inner.items():
        assert all(key.startswith(f"{name.removesuffix('.tar')}_") for key in members(tar)), name
    return {key: data for tar in inner.values() for key, data in members(tar).items()}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def decodes(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, UnidentifiedImageError):
        return False
    return True


def synsets_and_truth(folder: Path) -> tuple[np.ndarray, list[int]]:
    devkit = members((folder / DEVKIT).read_bytes())
    meta = scipy.io.loadmat(io.BytesIO(devkit["ILSVRC2012_devkit_t12/data/meta.mat"]), squeeze_me=True)
    truth = devkit["ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"]
    return meta["synsets"], [int(line) for line in truth.split()]


def hue_of(picture: Image.Image) -> str:
    """The hue that most of the strongly coloured pixels of the middle have."""
    side = min(picture.size) // 4
    middle = picture.crop(
        (
            picture.width // 2 - side,
            picture.height // 2 - side,
            picture.width // 2 + side,
            picture.height // 2 + side,
        )
    )
    hue, saturation, _ = np.moveaxis(np.asarray(middle.convert("HSV")).astype(float), -1, 0)
    angles = hue[saturation > 120] * 360 / 255
    votes = [(np.abs((angles - degrees + 180) % 360 - 180) < 25).sum() for degrees in HUES.values()]
    return list(HUES)[int(np.argmax(votes))]


def test_layout_is_that_of_the_real_downloads(sample: Path) -> None:
    assert set(files(sample)) == {TRAIN, VAL, DEVKIT}
    train = train_images(sample)
    assert len(train) == 6 * 4
    assert list(members((sample / VAL).read_bytes())) == [
        f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 6 * 2 + 1)
    ]
    synsets, truth = synsets_and_truth(sample)
    leaves = synsets[synsets["num_children"] == 0]
    assert leaves["ILSVRC2012_ID"].tolist() == [1, 2, 3, 4, 5, 6]
    assert {key.split("_")[0] for key in train} == set(leaves["WNID"])
    assert set(leaves["num_train_images"]) == {4}
    assert leaves["WNID"].tolist() != sorted(leaves["WNID"])  # or a reader that mixes them up would go unseen
    assert sorted(truth) == sorted(list(range(1, 7)) * 2)
    assert truth != sorted(truth)


def test_inner_nodes_list_their_children(sample: Path) -> None:
    synsets, _ = synsets_and_truth(sample)
    children = {str(row["words"]): np.atleast_1d(row["children"]).tolist() for row in synsets[6:]}
    assert children == {"red thing": [1, 2, 3, 4], "yellow thing": [5, 6], "thing": [7, 8]}
    assert synsets["num_children"].tolist() == [0] * 6 + [4, 2, 2]
    assert synsets["wordnet_height"].tolist() == [0] * 6 + [1, 1, 2]


def test_fields_are_those_of_the_real_devkit(sample: Path) -> None:
    real = Path(__file__).parents[2].parent / "shared/data/ilsvrc-tiny"
    if not real.exists():
        pytest.skip("needs data in the original layout under ../shared/data/ilsvrc-tiny")
    synsets, _ = synsets_and_truth(sample)
    assert synsets.dtype == synsets_and_truth(real)[0].dtype


def test_all_names_differ() -> None:
    words = [" ".join(thing) for thing in THINGS] + [f"{hue} thing" for hue in HUES] + ["thing"]
    assert len({wnid(name) for name in words}) == len(words) == 26


def test_same_bytes_again_and_other_images_from_another_seed(sample: Path, tmp_path: Path) -> None:
    make_sample(tmp_path / "again", SMALL)
    assert files(tmp_path / "again") == files(sample)
    make_sample(tmp_path / "other", replace(SMALL, seed=1))
    ours, others = train_images(sample), train_images(tmp_path / "other")
    assert not set(ours.values()) & set(others.values())


def test_no_clock_enters_the_bytes(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.asctime", lambda: "another day")
    make_sample(tmp_path, SMALL)
    assert files(tmp_path) == files(sample)


def test_odd_files_are_those_promised(sample: Path) -> None:
    broken = [name for name, data in train_images(sample).items() if not decodes(data)]
    assert len(broken) == 1
    opened = [Image.open(io.BytesIO(data)) for data in train_images(sample).values()]
    assert sorted(image.format for image in opened if image.format) == ["JPEG"] * 23 + ["PNG"]
    assert [image.mode for image in opened].count("CMYK") == 1
    assert [image.mode for image in opened].count("L") == 1
    assert [image.getexif().get(EXIF_ORIENTATION) for image in opened].count(6) == 1
    val = [Image.open(io.BytesIO(data)) for data in members((sample / VAL).read_bytes()).values()]
    assert {(image.format, image.mode) for image in val} == {("JPEG", "RGB")}


def test_labels_say_what_is_drawn(sample: Path) -> None:
    """By the hue, through archive, devkit and ids, for both splits."""
    synsets, truth = synsets_and_truth(sample)
    hue_by_id = [str(row["words"]).split()[0] for row in synsets]
    hue_by_wnid = {str(row["WNID"]): str(row["words"]).split()[0] for row in synsets}
    val = [Image.open(io.BytesIO(data)) for data in members((sample / VAL).read_bytes()).values()]
    assert [hue_of(image) for image in val] == [hue_by_id[number - 1] for number in truth]
    for name, data in train_images(sample).items():
        image = Image.open(io.BytesIO(data)) if decodes(data) else None
        if image and image.mode != "L":
            assert hue_of(image.convert("RGB")) == hue_by_wnid[name.split("_")[0]], name


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("size", [(64, 200), (200, 64), (97, 97)])  # portrait, landscape, odd square
def test_a_picture_has_the_size_asked_for_and_its_figure(figure: str, size: tuple[int, int]) -> None:
    picture = draw("green", figure, *size, np.random.default_rng(7))
    assert (picture.size, picture.mode) == (size, "RGB")
    assert hue_of(picture) == "green"
    others = [draw("green", other, *size, np.random.default_rng(7)) for other in FIGURES if other != figure]
    assert all(picture.tobytes() != other.tobytes() for other in others)


@pytest.mark.parametrize(
    ("figure", "area"),  # in the unit circle; what is filled with 0 is a hole
    [
        ("ring", np.pi * (1 - 0.55**2)),
        ("star", 1.234),
        ("stripes", 4 / 7 * 1.5**2),
        ("chequers", 13 / 25 * 1.5**2),
    ],
)
def test_figures_have_their_holes_and_gaps(figure: str, area: float) -> None:
    total = 0.0
    for corners, ink in _outlines(figure):
        shoelace = abs((corners.conj() * np.roll(corners, -1)).imag.sum()) / 2
        total += shoelace if ink else -shoelace
    assert total == pytest.approx(area, rel=0.01)


def test_unknown_figure() -> None:
    with pytest.raises(ValueError, match=r"no figure is called 'cube'; there are ring, star"):
        draw("red", "cube", 64, 64, np.random.default_rng(0))


def test_finished_one_is_left_alone(sample: Path) -> None:
    before = {path: path.stat() for path in sample.iterdir()}
    make_sample(sample, SMALL)
    assert {path: path.stat() for path in sample.iterdir()} == before


@pytest.mark.parametrize("missing", [TRAIN, VAL, DEVKIT])
def test_unfinished_one_is_completed(sample: Path, tmp_path: Path, missing: str) -> None:
    for name, data in files(sample).items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / missing).unlink()
    make_sample(tmp_path, SMALL)
    assert files(tmp_path) == files(sample)


def test_killed_one_is_redone(sample: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; import imagefeed.pipeline.synthetic.ilsvrc2012 as s; from pathlib import Path\n"
        "s._write_val = lambda path, *_: (path.write_bytes(b'half'), os.kill(os.getpid(), signal.SIGKILL))\n"
        f"s.make_sample(Path(sys.argv[1]), s.{SMALL})"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()}
    assert TRAIN in left
    assert not left & {VAL, DEVKIT}
    assert len(left) == 2  # and the temporary file
    make_sample(tmp_path, SMALL)
    assert files(tmp_path) == files(sample)


@pytest.mark.parametrize("name", [TRAIN, VAL, DEVKIT])
def test_files_of_others_are_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"the real downloads")
    with pytest.raises(FileExistsError, match=f"{name} is no.*name another folder"):
        make_sample(tmp_path, SMALL)
    assert (tmp_path / name).read_bytes() == b"the real downloads"
    assert not [entry for entry in os.listdir(tmp_path) if entry.startswith(".")]


def test_sample_of_other_options_is_never_replaced(sample: Path) -> None:
    before = files(sample)
    with pytest.raises(FileExistsError, match="is not the devkit of this sample"):
        make_sample(sample, replace(SMALL, seed=1))
    assert files(sample) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1; it can be 2 to 20"),
        ({"num_classes": 21}, "num_classes is 21"),
        ({"num_classes": 2, "train_images_per_class": 3}, "at least 8 training images"),
        ({"val_images_per_class": 0}, "1 validation image a class"),
        ({"min_side": 300, "max_side": 200}, "sides are 300 to 200 pixels"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleConfig(**options)
