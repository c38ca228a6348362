"""Folders and tars as people have them: read as what they are, or refused with a cure that works as it is printed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.sources.describe import describe_source
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reading import ReadOptions
from tests.support.brought import classes_of, tar_of, touch

SPLIT_NAMES = [
    ("train", ["train", "training", "Training", "TRAIN"]),
    ("val", ["val", "valid", "validation", "dev", "Val"]),
    ("test", ["test", "testing", "Testing"]),
]
PAIRS = [(split, name) for split, names in SPLIT_NAMES for name in names]


def in_folder(folder: Path, names: list[str]) -> Path:
    return touch(folder, names)


def in_tar(folder: Path, names: list[str]) -> Path:
    tar_of(folder / "a.tar", names)
    return folder


WAYS = pytest.mark.parametrize("write", [in_folder, in_tar])


@WAYS
@pytest.mark.parametrize(("split", "name"), PAIRS)
@pytest.mark.parametrize("above", ["", "pets/"])
def test_splits_have_many_names_and_lie_one_or_two_folders_deep(
    write: Callable, split: str, name: str, above: str, tmp_path: Path
) -> None:
    other = "val" if split == "train" else "train"
    write(tmp_path, [f"{above}{part}/{file}.jpg" for part in (name, other) for file in ("cat/1", "dog/2")])
    source = open_source(tmp_path)
    assert set(source.splits) == {split, other}
    assert [each.wnid for each in source.classes] == ["cat", "dog"]
    assert sorted(classes_of(source, split).values()) == ["cat", "dog"]


def test_class_folders_one_folder_too_deep(tmp_path: Path) -> None:
    touch(tmp_path / "in", ["flowers/rose/1.jpg", "flowers/tulip/a/2.jpg", "README.md"])
    source = open_source(tmp_path / "in")
    assert classes_of(source) == {"rose/1": "rose", "tulip/a/2": "tulip"}
    assert "within flowers, which holds all of the folders" in describe_source(source)
    assert source.left_out.files == {".md": 1}


def test_a_folder_beside_an_empty_one_is_a_class(tmp_path: Path) -> None:
    touch(tmp_path, ["cat/a/1.jpg", "cat/b/2.jpg"])
    (tmp_path / "dog").mkdir()
    assert [each.wnid for each in open_source(tmp_path).classes] == ["cat", "dog"]


REFUSED: dict[str, tuple[list[str], str]] = {
    "images and masks": (["images/1.jpg", "masks/1.jpg"], "images and masks, by their names, are no classes"),
    "images and masks in a split": (["train/images/1.jpg", "train/masks/1.jpg"], "are no classes"),
    "flat splits": (["train/1.jpg", "test/2.jpg"], "called like splits and hold images in no class folder"),
    "splits within classes": (["cat/train/1.jpg", "cat/val/2.jpg", "dog/train/3.jpg"], "cat holds train, which is"),
    "the same folders in all": (
        ["art/cat/1.jpg", "art/dog/2.jpg", "photo/cat/3.jpg", "photo/dog/4.jpg"],
        "such as art, hold the same folders, cat, dog",
    ),
    "splits beside others": (["train/cat/1.jpg", "old/cat/2.jpg"], "other folders with images beside, such as old"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_are_most_likely_no_classes_are_refused_unless_all_are_to_be(case: str, tmp_path: Path) -> None:
    files, message = REFUSED[case]
    touch(tmp_path, files)
    with pytest.raises(ValueError, match=f"{message}.*--class-folders all") as caught:
        open_source(tmp_path)
    assert str(tmp_path) in str(caught.value)
    source = open_source(tmp_path, reading=ReadOptions(class_folders="all"))
    assert [each.wnid for each in source.classes] == sorted({file.partition("/")[0] for file in files})
    assert sum(map(len, source.splits.values())) == len(files)


def test_what_is_usual_is_not_refused(tmp_path: Path) -> None:
    """Tiny ImageNet has a folder `images` in each class; a class may be called mask."""
    touch(tmp_path / "tiny", [f"{split}/n0{name}/images/0.jpg" for split in ("train", "val") for name in (1, 2)])
    assert [each.wnid for each in open_source(tmp_path / "tiny").classes] == ["n01", "n02"]
    touch(tmp_path / "faces", ["mask/0.jpg", "no_mask/0.jpg"])
    assert [each.wnid for each in open_source(tmp_path / "faces").classes] == ["mask", "no_mask"]


def test_tars_of_splits_within_classes_are_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", ["cat/train/1.jpg", "cat/val/2.jpg", "dog/train/3.jpg"])
    with pytest.raises(ValueError, match=r"train and val, by their names, are no classes.*--class-folders all"):
        open_source(tmp_path)
    source = open_source(tmp_path, reading=ReadOptions(class_folders="all"))
    assert [each.wnid for each in source.classes] == ["train", "val"]


def test_a_tar_in_which_some_lie_in_splits_is_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", ["train/cat/1.jpg", "train/dog/2.jpg", "cat/3.jpg"])
    with pytest.raises(ValueError, match=r"folders of splits beside cat/3, which is in none.*--class-folders all"):
        open_source(tmp_path)
    assert len(open_source(tmp_path, reading=ReadOptions(class_folders="all")).splits["train"]) == 3


def test_one_class_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    touch(tmp_path / "in", ["cat/1.jpg", "cat/2.jpg"])
    with pytest.raises(ValueError, match=r"/in has one class, cat: name the folder .*--one-class"):
        convert(tmp_path / "in", tmp_path / "out")
    for options in (ConvertOptions(one_class=True), ConvertOptions(classes=("cat",))):
        (manifest,) = convert(tmp_path / "in", tmp_path / "out", options).values()
        assert [each.wnid for each in manifest.classes] == ["cat"] and manifest.num_samples == 2
    tar_of(tmp_path / "tars/a.tar", ["cat/1.jpg", "cat/2.jpg"])
    with pytest.raises(ValueError, match=r"all lie in one folder, cat: there are no labels; .*--one-class"):
        convert(tmp_path / "tars", tmp_path / "from_tars")
    (manifest,) = convert(tmp_path / "tars", tmp_path / "from_tars", ConvertOptions(one_class=True)).values()
    assert [each.wnid for each in manifest.classes] == ["cat"] and manifest.num_samples == 2
    touch(tmp_path / "in", ["cat/new/3.jpg"])
    with pytest.raises(ValueError, match="one class"):
        convert(tmp_path / "in" / "cat", tmp_path / "other")


def test_a_test_split_with_other_folders_is_left_out_by_the_cure_that_is_printed(tmp_path: Path) -> None:
    """As Tiny ImageNet's `test/images`."""
    touch(tmp_path, ["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "test/images/4.jpg"])
    with pytest.raises(ValueError, match=r"/test has the class images, .* known ones.*--splits train,val") as caught:
        open_source(tmp_path)
    option = re.search(r"--splits (\S+) ", str(caught.value))
    assert option is not None
    source = open_source(tmp_path, reading=ReadOptions(splits=(option[1],)))
    assert list(source.splits) == ["train", "val"]
    assert source.left_out.describe() == "the split test (--splits leaves it out)"
    with pytest.raises(ValueError, match="has no split test: it has train, val"):
        touch(tmp_path / "more", ["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg"])
        open_source(tmp_path / "more", reading=ReadOptions(splits=("test",)))


@pytest.mark.parametrize(
    ("folders", "table"),
    [
        (["images/1.jpg", "images/2.jpg"], "file,label\n1.jpg,cat\n2.jpg,dog\n"),
        (["images/1.jpg", "images/2.jpg"], "image_id,label\n1,cat\n2,dog\n"),
        (["part_1/1.jpg", "part_2/2.jpg", "part_2/3.jpg"], "path,class\npart_1/1.jpg,a\n2.jpg,b\n3.jpg,a\n"),
        (["photographs/1.jpg", "photographs/2.jpg"], "filename\tcategory\n1.jpg\tcat\n2.jpg\tdog\n"),
    ],
)
def test_images_beside_a_table_of_labels(folders: list[str], table: str, tmp_path: Path) -> None:
    touch(tmp_path / "in", folders)
    name = tmp_path / "in" / ("labels.tsv" if "\t" in table else "labels.csv")
    name.write_text(table)
    said = rf"labels\.[ct]sv has labels of the images.*`imagefeed convert {name} OUT`.* folders, --(\S+)"
    with pytest.raises(ValueError, match=said) as caught:
        open_source(tmp_path / "in")
    source = open_source(name)
    expected = [line.replace("\t", ",").split(",")[1] for line in table.splitlines()[1:]]
    assert [classes_of(source)[key] for key in sorted(classes_of(source))] == expected
    cures = {"one-class": ReadOptions(one_class=True), "class-folders": ReadOptions(class_folders="all")}
    assert (
        open_source(tmp_path / "in", reading=cures[str(caught.value).rpartition("--")[2].split()[0]]).kind == "folder"
    )


def test_a_table_that_says_what_the_folders_say_is_a_file_like_others(tmp_path: Path) -> None:
    touch(tmp_path, ["train/cat/1.jpg", "train/dog/2.jpg"])
    (tmp_path / "all.csv").write_text("filepaths,labels,set\ntrain/cat/1.jpg,CAT,train\ntrain/dog/2.jpg,DOG,train\n")
    (tmp_path / "captions.csv").write_text("file_name,caption\n1.jpg,one\n2.jpg,two\n")
    assert open_source(tmp_path).left_out.files == {".csv": 2}


RARE = ("jfif", "jpe", "avif", "jp2", "heic", "ppm", "pgm")


@WAYS
@pytest.mark.parametrize("suffix", RARE)
def test_rare_suffixes_are_images(write: Callable, suffix: str, tmp_path: Path) -> None:
    names = ["cat/1.jpg", f"cat/2.{suffix}", "dog/3.jpg"]
    write(tmp_path / "in", names)
    assert classes_of(open_source(tmp_path / "in")) == {"cat/1": "cat", "cat/2": "cat", "dog/3": "dog"}


def test_what_pillow_lacks_is_in_quarantine(tmp_path: Path) -> None:
    """A real AVIF, PPM and JPEG 2000 are converted where Pillow has them; a HEIC is not silently gone."""
    from PIL import Image, features

    touch(tmp_path / "in", ["cat/1.jpg", "dog/2.jpg"])
    image = Image.new("RGB", (70, 80), (200, 10, 30))
    image.save(tmp_path / "in/cat/3.ppm")
    image.convert("L").save(tmp_path / "in/cat/4.pgm", format="PPM")
    image.save(tmp_path / "in/cat/5.jfif", format="JPEG")
    count = 5
    for name, format, feature in (("6.jp2", "JPEG2000", "jpg_2000"), ("7.avif", "AVIF", "avif")):
        if features.check(feature):
            image.save(tmp_path / "in/cat" / name, format=format)
            count += 1
    (tmp_path / "in/cat/8.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(80))
    (manifest,) = convert(tmp_path / "in", tmp_path / "out").values()
    assert (manifest.num_samples, manifest.num_quarantined) == (count, 1)


# Tars


TARS: dict[str, tuple[dict[str, str], dict[str, str], dict[str, int]]] = {
    "a README among the samples": (
        {"README.md": "", "labels.csv": "a", "cat/1.jpg": "", "dog/2.jpg": ""},
        {"cat/1": "cat", "dog/2": "dog"},
        {".csv": 1, ".md": 1},
    ),
    "dots in names": ({"cat/a.1.jpg": "", "dog/a.2.jpg": ""}, {"cat/a_1": "cat", "dog/a_2": "dog"}, {}),
    "frames": (
        {"cat/img.0001.jpg": "", "cat/img.0002.jpg": "", "dog/img.0001.jpg": ""},
        {"cat/img_0001": "cat", "cat/img_0002": "cat", "dog/img_0001": "dog"},
        {},
    ),
    "frames with labels": (
        {"i.1.jpg": "", "i.1.cls": "0", "i.2.jpg": "", "i.2.cls": "1"},
        {"i_1": "0", "i_2": "1"},
        {},
    ),
    "a suffix of two parts": (
        {"000.input.jpg": "", "000.cls": "0", "001.input.jpg": "", "001.cls": "1"},
        {"000": "0", "001": "1"},
        {},
    ),
    "a rare suffix": ({"cat/1.jpg": "", "dog/2.jfif": ""}, {"cat/1": "cat", "dog/2": "dog"}, {}),
    "names in json": (
        {"0.jpg": "", "0.json": '{"label": "dog"}', "1.jpg": "", "1.json": '{"label": "cat"}'},
        {"0": "dog", "1": "cat"},
        {},
    ),
    "class_name in json": (
        {"0.jpg": "", "0.json": '{"class_name": "dog"}', "1.jpg": "", "1.json": '{"class_name": "cat"}'},
        {"0": "dog", "1": "cat"},
        {},
    ),
    "numbers with class_name in json": (
        {"0.jpg": "", "0.json": '{"label": 0, "class_name": "zebra"}'}
        | {"1.jpg": "", "1.json": '{"label": 1, "class_name": "ant"}'},
        {"0": "zebra", "1": "ant"},
        {},
    ),
    "WordNet ids beside a cls": (
        {"n02000002_1.jpg": "", "n02000002_1.cls": "0", "n01000001_1.jpg": "", "n01000001_1.cls": "1"},
        {"n02000002_1": "n02000002", "n01000001_1": "n01000001"},
        {},
    ),
    "img2dataset": (
        {"0.jpg": "", "0.txt": "", "0.json": '{"label": 0}', "1.jpg": "", "1.txt": "", "1.json": '{"label": 1}'},
        {"0": "0", "1": "1"},
        {".txt": 2},
    ),
}


@pytest.mark.parametrize("case", TARS)
def test_tars_as_tools_leave_them(case: str, tmp_path: Path) -> None:
    members, expected, left = TARS[case]
    tar_of(tmp_path / "in/a.tar", members)
    source = open_source(tmp_path / "in")
    assert (classes_of(source), source.left_out.members) == (expected, left)
    (manifest,) = convert(tmp_path / "in", tmp_path / "out").values()
    assert (manifest.num_samples, manifest.num_quarantined) == (len(expected), 0)


def test_one_of_several_images_of_a_sample_by_the_cure_that_is_printed(tmp_path: Path) -> None:
    tar_of(
        tmp_path / "a.tar", {f"{key}.{suffix}": "0" for key in (0, 1) for suffix in ("left.jpg", "right.png", "cls")}
    )
    with pytest.raises(ValueError, match=r"0\.right\.png is the second image.*--image"):
        open_source(tmp_path)
    for suffix in ("left.jpg", "right.png"):
        source = open_source(tmp_path, reading=ReadOptions(image=suffix))
        assert list(classes_of(source)) == ["0", "1"]
        assert sum(source.left_out.members.values()) == 2


def test_another_field_of_the_json_has_the_label(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", {"0.jpg": "", "0.json": '{"kind": "b"}', "1.jpg": "", "1.json": '{"kind": "a"}'})
    with pytest.raises(ValueError, match=r"sample 0 has no label.*--label FIELD"):
        open_source(tmp_path)
    assert classes_of(open_source(tmp_path, reading=ReadOptions(label="kind"))) == {"0": "b", "1": "a"}


def test_the_folder_that_img2dataset_leaves(tmp_path: Path) -> None:
    """As 1.47 does: a Parquet file and a JSON of statistics beside each tar."""
    for shard in ("00000", "00001"):
        tar_of(tmp_path / f"{shard}.tar", TARS["img2dataset"][0])
        touch(tmp_path, [f"{shard}.parquet", f"{shard}_stats.json"])
    source = open_source(tmp_path)
    assert (source.kind, len(source.splits["train"])) == ("tar", 4)
    assert source.left_out.files == {".json": 2, ".parquet": 2}


@pytest.mark.parametrize("folder", ["shards/", "a/b/", "data/train/"])
def test_shards_one_folder_deeper(folder: str, tmp_path: Path) -> None:
    tar_of(tmp_path / f"{folder}0.tar", ["cat/1.jpg", "dog/2.jpg"])
    assert open_source(tmp_path).kind == "tar"
    touch(tmp_path, ["ant/1.jpg", "bee/2.jpg"])
    source = open_source(tmp_path)
    assert (source.kind, source.left_out.files) == ("folder", {".tar": 1})


def test_test_tars_without_labels_are_left_out_and_with_labels_a_split(tmp_path: Path) -> None:
    tar_of(tmp_path / "train-0.tar", ["cat/1.jpg", "dog/2.jpg"])
    tar_of(tmp_path / "test-0.tar", ["1.jpg", "2.jpg"])
    source = open_source(tmp_path)
    assert list(source.splits) == ["train"]
    assert source.left_out.describe() == "the split test (it has no labels)"
    tar_of(tmp_path / "test-0.tar", ["cat/1.jpg", "dog/2.jpg"])
    assert list(open_source(tmp_path).splits) == ["train", "test"]


@pytest.mark.parametrize(("first", "expected"), [(1, {"0": "0", "1": "1"}), (0, {"0": "1", "1": "2"})])
def test_labels_that_begin_at_1_are_refused_with_both_cures(
    first: int, expected: dict[str, Any], tmp_path: Path
) -> None:
    tar_of(tmp_path / "a.tar", {"0.jpg": "", "0.cls": "1", "1.jpg": "", "1.cls": "2"})
    with pytest.raises(ValueError, match=r"labels go from 1 to 2.*--first-label 1; .*--first-label 0"):
        open_source(tmp_path)
    source: Source = open_source(tmp_path, reading=ReadOptions(first_label=first))
    assert classes_of(source) == expected


def test_several_configurations_in_one_folder_are_refused(tmp_path: Path) -> None:
    for folder in ("en", "fr"):
        tar_of(tmp_path / folder / "train-0.tar", ["cat/1.jpg", "dog/2.jpg"])
    with pytest.raises(ValueError, match=rf"several configurations, .* en and fr; name one of them, {tmp_path}/fr"):
        open_source(tmp_path)
    assert len(open_source(tmp_path / "fr").splits["train"]) == 2
    assert len(open_source(f"{tmp_path}/*/*.tar").splits["train"]) == 4
