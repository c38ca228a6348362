"""A source lists every image once, with the right label, and says what is wrong where something is."""

import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from imagefeed.pipeline.formats.left_out import LeftOut
from imagefeed.pipeline.sources import ilsvrc2012, ilsvrc2012_devkit
from imagefeed.pipeline.sources.describe import describe_source
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reader import read_rows
from imagefeed.pipeline.synthetic.ilsvrc2012 import SampleConfig, make_sample
from tests.conftest import REAL_DATA, content_of, encoded, picture

SMALL = SampleConfig(num_classes=5, train_images_per_class=6, val_images_per_class=2, min_side=48, max_side=64)


@pytest.fixture(scope="module")
def ilsvrc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ilsvrc")
    make_sample(folder, SMALL)
    return folder


@pytest.fixture
def copy(ilsvrc: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(ilsvrc, tmp_path / "copy"))


def content(source: Source, split: str) -> list[bytes]:
    return list(read_rows(source.root, source.splits[split]))


def listed_by_tarfile(folder: Path) -> dict[str, tuple[str, bytes]]:
    """The slow twin: key -> (WNID, bytes) of the training images."""
    found = {}
    with tarfile.open(folder / ilsvrc2012.TRAIN) as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                for image in inner:
                    found[Path(image.name).stem] = (Path(member.name).stem, content_of(inner, image))
    return found


@pytest.mark.parametrize("where", ["made", "real"])
def test_ilsvrc_is_listed_in_place(where: str, ilsvrc: Path) -> None:
    folder = ilsvrc if where == "made" else REAL_DATA / "ilsvrc-tiny"
    if not folder.is_dir():
        pytest.skip("the real images are not beside this checkout")
    source = open_source(folder)
    twin = listed_by_tarfile(folder)
    table = source.splits["train"]
    assert table["key"].to_pylist() == sorted(twin)
    wnids = [each.wnid for each in source.classes]
    assert wnids == sorted(wnids)
    assert [wnids[label] for label in table["label"].to_pylist()] == [twin[key][0] for key in sorted(twin)]
    assert content(source, "train") == [twin[key][1] for key in sorted(twin)]


@pytest.mark.parametrize("where", ["made", "real"])
def test_validation_labels_go_through_the_wnid_and_not_by_the_kits_ids(where: str, ilsvrc: Path) -> None:
    folder = ilsvrc if where == "made" else REAL_DATA / "ilsvrc-tiny"
    if not folder.is_dir():
        pytest.skip("the real images are not beside this checkout")
    with tarfile.open(folder / ilsvrc2012_devkit.DEVKIT) as kit:
        by_name = {Path(member.name).name: content_of(kit, member) for member in kit if member.isfile()}
    truth = [int(line) for line in by_name["ILSVRC2012_validation_ground_truth.txt"].split()]
    synsets = scipy.io.loadmat(io.BytesIO(by_name["meta.mat"]))["synsets"][:, 0]
    wnid_of = {int(row["ILSVRC2012_ID"].item()): str(row["WNID"].item()) for row in synsets}
    source = open_source(folder)
    labels = source.splits["val"]["label"].to_pylist()
    assert [source.classes[label].wnid for label in labels] == [wnid_of[id] for id in truth]
    # the trap: on these data, taking the ids themselves would give other labels
    assert labels != [id - 1 for id in truth]


def test_a_folder_of_classes_is_one_training_split(images: Path) -> None:
    source = open_source(images / "train")
    assert list(source.splits) == ["train"] and len(source.splits["train"]) == 29
    assert [each.wnid for each in source.classes] == ["ant", "bee", "cat"]
    assert source.splits["train"]["key"].to_pylist()[:2] == ["ant/000", "ant/001"]


def test_split_folders_are_splits(images: Path) -> None:
    source = open_source(images)
    assert {name: len(table) for name, table in source.splits.items()} == {"train": 29, "val": 9}


def test_folders_of_programs_are_no_classes(images: Path, tmp_path: Path) -> None:
    """`convert .` in a project: neither the icons of its environments nor those of its packages are images of it."""
    shutil.copytree(images / "train", tmp_path / "project")
    expected = open_source(tmp_path / "project")
    for folder in ("env/lib/icons", ".hidden/icons", "node_modules/a", "lib/site-packages/a", "cat/__pycache__"):
        (tmp_path / "project" / folder).mkdir(parents=True)
        (tmp_path / "project" / folder / "icon.png").write_bytes(encoded(picture(1, 32, 32), "PNG"))
    (tmp_path / "project" / "env" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert open_source(tmp_path / "project") == expected
    (tmp_path / "project" / "pyvenv.cfg").write_text("home = /usr/bin\n")  # what the user names is meant
    assert replace(open_source(tmp_path / "project"), left_out=LeftOut()) == expected


def test_a_loose_image_is_named(images: Path, tmp_path: Path) -> None:
    assert not open_source(images).left_out and not open_source(images / "train").left_out
    shutil.copytree(images, tmp_path / "splits")
    shutil.copytree(images / "train", tmp_path / "classes")
    for file in ("splits/logo.png", "splits/train/loose.png", "splits/stray/deep.jpg", "classes/loose.png"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(encoded(picture(1, 32, 32), "PNG"))
    source = open_source(tmp_path / "splits")
    assert source.left_out == LeftOut(files={".jpg": 1, ".png": 2}, first="logo.png")
    assert source.splits == open_source(images).splits
    assert open_source(tmp_path / "classes").left_out == LeftOut(files={".png": 1}, first="loose.png")
    assert describe_source(source).endswith("\nleft out: 1 file .jpg, 2 files .png; the first: logo.png")


def test_a_source_is_described_in_two_lines(images: Path) -> None:
    source = open_source(images)
    classes = ", ".join(each.wnid for each in source.classes)
    sample = source.splits["train"]["key"][0]
    expected = f"{images} (folder): train 29 and val 9 images of 3 classes ({classes}), such as {sample}"
    assert describe_source(source) == f"{expected}\nlabels: 0 ant, 1 bee, 2 cat (alphabetical order of the names)"
    many = replace(source, classes=(*source.classes, *source.classes))
    assert f"of 6 classes ({classes}, ...), such as" in describe_source(many)
    more = replace(source, classes=4 * source.classes)
    assert describe_source(more).splitlines()[1].startswith("labels: 0 ant, 1 bee, 2 cat, ..., 11 cat (")


def test_the_digest_names_the_data_and_not_the_place(images: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(images, tmp_path / "moved"))
    assert open_source(moved).digest("train") == open_source(images).digest("train")
    (moved / "train" / "ant" / "extra.jpg").write_bytes(b"more")
    assert open_source(moved).digest("train") != open_source(images).digest("train")


def test_dots_in_names_do_not_reach_the_key(tmp_path: Path) -> None:
    (tmp_path / "a.b").mkdir()
    (tmp_path / "a.b" / "x.y.jpg").write_bytes(b"1")
    assert open_source(tmp_path).splits["train"]["key"].to_pylist() == ["a.b/x_y"]


def test_no_folder_an_empty_one_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds nothing to convert: expected"):
        open_source(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="file holds nothing to convert: expected"):
        open_source(tmp_path / "file")


@pytest.mark.parametrize("name", [ilsvrc2012.TRAIN, ilsvrc2012.VAL, ilsvrc2012_devkit.DEVKIT])
def test_an_archive_cut_short_is_named(copy: Path, name: str) -> None:
    path = copy / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ValueError, match=rf"{name}.*(cut short|cannot be read)"):
        open_source(copy)


@pytest.mark.parametrize("name", [ilsvrc2012_devkit.DEVKIT])
def test_a_missing_archive_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        open_source(copy)


def test_a_devkit_of_other_data_is_refused(copy: Path, tmp_path: Path) -> None:
    for other, message in (
        (
            SampleConfig(num_classes=4, train_images_per_class=6, val_images_per_class=2, min_side=48, max_side=64),
            "class",
        ),
        (
            SampleConfig(num_classes=6, train_images_per_class=6, val_images_per_class=2, min_side=48, max_side=64),
            "lacks",
        ),
        (
            SampleConfig(num_classes=5, train_images_per_class=6, val_images_per_class=3, min_side=48, max_side=64),
            "truth",
        ),
    ):
        folder = tmp_path / f"{other.num_classes}-{other.val_images_per_class}"
        make_sample(folder, other)
        shutil.copy(folder / ilsvrc2012_devkit.DEVKIT, copy / ilsvrc2012_devkit.DEVKIT)
        with pytest.raises(ValueError, match=f"{message}.*one of them is wrong"):
            open_source(copy)


def test_a_file_that_shrinks_after_it_was_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "x.jpg"
    path.write_bytes(encoded(picture(0, 64, 64)))
    source = open_source(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"x\.jpg ends within the image"):
        content(source, "train")


def test_labels_are_dense(ilsvrc: Path) -> None:
    source = open_source(ilsvrc)
    assert np.unique(source.splits["train"]["label"].to_numpy()).tolist() == list(range(5))
