"""What other packages have written is read as it was put in, here and by URL; what is not read says why, and the cure.

The datasets are those of `recorded/`, which `recorded/make.py` makes again and `recorded/expected.json` describes.
"""

import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.sources.energon import parse_yaml
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reader import read_rows
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.zip_archive import top_folder
from tests.support.servers import file_server

RECORDED = Path(__file__).parent / "recorded"
EXPECTED = json.loads((RECORDED / "expected.json").read_text())
READ = [name for name, said in EXPECTED.items() if "refused" not in said]
REFUSED = [name for name, said in EXPECTED.items() if "refused" in said]
SPLIT = {"train": "train", "validation": "val"}

Rows = list[tuple[str, str]]


def reading(name: str) -> ReadOptions:
    return ReadOptions(**EXPECTED[name].get("options", {}))


def pixels(data: bytes) -> str:
    """SHA-256 of an image file's pixels."""
    return hashlib.sha256(Image.open(io.BytesIO(data)).convert("RGB").tobytes()).hexdigest()


def rows_of(source: Source, split: str) -> Rows:
    """Class and pixels of each image, in the order of the table."""
    table = source.splits[split]
    names = [source.classes[label].words for label in table["label"].to_pylist()]
    return list(zip(names, map(pixels, read_rows(source.root, table)), strict=True))


def wanted(name: str) -> dict[str, Rows]:
    """The same, as it was put in."""
    return {SPLIT[split]: [(row[0], row[1]) for row in rows] for split, rows in EXPECTED[name]["splits"].items()}


@pytest.mark.parametrize("name", READ)
def test_what_was_put_in_comes_out_in_its_order(name: str) -> None:
    source = open_source(RECORDED / name, reading=reading(name))
    assert [each.words for each in source.classes] == EXPECTED[name]["classes"]
    assert {split: rows_of(source, split) for split in source.splits} == wanted(name)


@pytest.mark.parametrize("name", READ)
def test_by_url_it_is_the_same_source(name: str) -> None:
    here = open_source(RECORDED / name, reading=reading(name))
    with file_server(RECORDED) as server:
        there = open_source(f"{server.url}/{name}", reading=reading(name))
        assert there.classes == here.classes
        for split in here.splits:
            assert there.digest(split) == here.digest(split)
            assert rows_of(there, split) == rows_of(here, split)


@pytest.mark.parametrize("name", READ)
def test_it_converts_and_opens(name: str, tmp_path: Path) -> None:
    options = {"resize": "none", "shard_size": 3} | EXPECTED[name].get("options", {})
    convert(RECORDED / name, tmp_path, ConvertOptions(**options))
    for split, rows in wanted(name).items():
        dataset = open_dataset(tmp_path / split)
        found = []
        for row in dataset.samples.to_pylist():
            shard = (tmp_path / split / f"shard-{row['shard']:05d}.tar").read_bytes()
            data = shard[row["offset"] : row["offset"] + row["size"]]
            found.append((row["id"], dataset.classes[row["label"]].words, pixels(data)))
        assert [(words, image) for _, words, image in sorted(found)] == rows


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_with_file_and_cure(name: str) -> None:
    with pytest.raises(ValueError, match=EXPECTED[name]["refused"]):
        open_source(RECORDED / name, reading=reading(name))


def test_fields_come_along() -> None:
    for name, fields in {
        "arrow": {"caption": "string"},
        "mds_png": {"word": "string", "score": "float64", "i": "int64"},
        "litdata_pil": {"score": "float64"},
        "litdata_rows": {"caption": "string"},
        "tfrecord_imagenet": {"score": "float64", "image/filename": "string", "image/channels": "int64"},
    }.items():
        source = open_source(RECORDED / name, tuple(fields), reading=reading(name))
        assert {field: said.type for field, said in source.fields.items()} == fields
        table = source.splits["train"]
        if "caption" in fields and name == "arrow":
            assert table["caption"].to_pylist() == [f"number {number} of train" for number in range(7)]
        if name == "mds_png":
            assert table["i"].to_pylist() == list(range(7))
            assert table["score"].to_pylist() == [number / 2 for number in range(7)]
            assert table["word"].to_pylist() == [("cat", "dog", "emu")[number % 3] for number in range(7)]
        if name == "tfrecord_imagenet":
            assert table["score"].to_pylist() == [0, 0.5, 1, 0, 0.5, 1, 1.5]
            assert table["image/channels"].to_pylist() == [3] * 7


def test_a_field_that_samples_lack_or_have_twice_names_the_record() -> None:
    with pytest.raises(
        ValueError, match=r"train-00000-of-00002: record 0 has none or several values of .*xmin: write one"
    ):
        open_source(RECORDED / "tfrecord_imagenet", ("image/object/bbox/xmin",))
    with pytest.raises(ValueError, match=r"has no feature nothing.*: it has image/channels"):
        open_source(RECORDED / "tfrecord_imagenet", ("nothing",))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mds_png", {}, r"none of label, cls; its columns are i, score, word, y: .*--label"),
        ("mds_png", {"label": "score"}, r"score has real numbers"),
        ("mds_png", {"label": "y", "image": "word"}, r"i \(int\), score \(float32\).*--image x"),
        ("litdata_pil", {"label": "nothing"}, r"no column nothing; its columns are label, score"),
        ("tfrecord_tfds", {"label": "nothing"}, r"no column nothing; its columns are label"),
        ("tfrecord_imagenet", {"label": "image/object/bbox/label"}, r"none of|no column|first record"),
        ("arrow", {"image": "caption"}, r"no column caption; its columns are image"),
    ],
)
def test_columns_that_are_not_clear_are_refused_with_the_option(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_source(RECORDED / name, reading=ReadOptions(**options))


def test_labels_of_text_are_classes_by_name() -> None:
    source = open_source(RECORDED / "mds_png", reading=ReadOptions(label="word"))
    assert [each.wnid for each in source.classes] == ["cat", "dog", "emu"]
    assert source.splits["train"]["label"].to_pylist() == [0, 1, 2, 0, 1, 2, 0]


def copied(name: str, to: Path) -> Path:
    return Path(shutil.copytree(RECORDED / name, to / name))


def test_a_compressed_mds_is_read_after_the_cure_that_the_error_names(tmp_path: Path) -> None:
    folder = copied("mds_zstd", tmp_path)
    for file in folder.rglob("*.zstd"):
        with pa.CompressedInputStream(pa.OSFile(str(file)), "zstd") as stream:
            file.with_suffix("").write_bytes(stream.read())
    source = open_source(folder, reading=reading("mds_zstd"))
    assert {split: rows_of(source, split) for split in source.splits} == wanted("mds_pil")


MISSING = {
    "arrow": "train/data-00001-of-00002.arrow",
    "mds_png": "train/shard.00001.mds",
    "litdata_pil": "train/chunk-0-1.bin",
    "litdata_rows": "train/index.json",
    "energon": "shard_001.tar",
}


@pytest.mark.parametrize("name", MISSING)
def test_a_file_that_is_missing_is_an_error(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    (folder / MISSING[name]).unlink()
    with pytest.raises(ValueError, match=rf"{re.escape(MISSING[name])}.* is missing.*restore it"):
        open_source(folder, reading=reading(name))


@pytest.mark.parametrize("name", ["mds_png", "litdata_pil"])
def test_a_shard_that_no_index_names_is_an_error(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    file = next(folder.glob("train/*0.*s")) if name == "mds_png" else next(folder.glob("train/chunk*"))
    shutil.copy(file, file.with_name("chunk-7-7.bin" if name != "mds_png" else "shard.00009.mds"))
    with pytest.raises(ValueError, match=r"(?:chunk-7-7.bin|shard\.00009\.mds) is in no index\.json: remove it"):
        open_source(folder, reading=reading(name))


SHARDS = {name: re.compile(r".*\.(?:arrow|mds|bin|zip|tfrecord.*)|train-0.*") for name in READ if name != "energon"}


def outcome(folder: Path, name: str, file: Path) -> str:
    """What reading gives: "same", "changed", or an error, which names the file."""
    try:
        source = open_source(folder, reading=reading(name))
        for table in source.splits.values():
            for data in read_rows(source.root, table):
                assert len(data) < 1 << 20
    except ValueError as error:
        if not re.search(rf"{re.escape(file.name)}|has the label|has the class|the key", str(error)):
            raise
        return "error"
    return "changed"


def hurt_file(name: str, folder: Path) -> Path:
    """A shard of the training split, alone with what is beside it."""
    files = sorted(file for file in folder.rglob("*") if SHARDS[name].fullmatch(file.name))
    return next(file for file in files if "train" in str(file.relative_to(folder)) or file.name.startswith("data"))


def record_ends(whole: bytes) -> list[int]:
    """Where the records of a TFRecord end."""
    ends = [0]
    while ends[-1] < len(whole):
        ends.append(ends[-1] + 16 + int.from_bytes(whole[ends[-1] : ends[-1] + 8], "little"))
    return ends


@pytest.mark.parametrize("name", SHARDS)
def test_a_file_that_is_cut_short_is_an_error_with_its_name(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    if not name.startswith("litdata"):
        for file in folder.rglob("index.json"):
            file.unlink()  # it would tell by the size
    file = hurt_file(name, folder)
    whole = file.read_bytes()
    ends = record_ends(whole) if name.startswith("tfrecord") else []  # what is behind is missing, and nothing tells
    for size in [*range(0, len(whole), max(len(whole) // 25, 1)), *range(len(whole) - 9, len(whole))]:
        file.write_bytes(whole[:size])
        assert outcome(folder, name, file) == "error" or size in ends, size


@pytest.mark.parametrize("name", SHARDS)
def test_altered_bytes_are_an_error_or_other_pixels_and_nothing_else(name: str, tmp_path: Path) -> None:
    """No crash, no other exception, and no memory for what a number says and the file does not hold."""
    folder = copied(name, tmp_path)
    file = hurt_file(name, folder)
    whole = file.read_bytes()
    rng = random.Random(7)
    found = set()
    for place in [*range(min(48, len(whole))), *(rng.randrange(len(whole)) for _ in range(100))]:
        hurt = bytearray(whole)
        value = rng.choice((b"\xff", b"\0", b"\xff\xff\xff\xff", b"\x80", b"\xff\xff\xff\x7f"))
        hurt[place : place + len(value)] = value
        file.write_bytes(hurt[: len(whole)])
        found.add(outcome(folder, name, file))
    assert "error" in found


# Zip archives


def test_a_folder_that_all_images_lie_in_is_passed_over() -> None:
    for expected, names in (
        ("a/", ["a/cat/1.jpg", "a/dog/2.jpg"]),
        ("", ["cat/1.jpg", "dog/2.jpg"]),
        ("a/b/", ["a/b/cat/1.jpg", "a/b/dog/2.jpg"]),
        ("a/", ["a/b/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg"]),
        ("a/", ["a/train/cat/1.jpg", "a/val/cat/2.jpg"]),
        ("a/", ["a/train/cat/1.jpg", "a/train/dog/2.jpg"]),
        ("", ["train/cat/1.jpg", "train/dog/2.jpg"]),
        ("", ["cat/1.jpg"]),
        ("", ["1.jpg", "cat/1.jpg"]),
        ("", []),
    ):
        assert top_folder(pa.array(names, pa.string())) == expected


def test_a_zip_says_which_folder_was_passed_over() -> None:
    assert open_source(RECORDED / "zip_stored").notes[0] == "in train.zip: what lies below photos/"


def test_what_else_a_zip_holds_is_named(tmp_path: Path) -> None:
    photo = next((RECORDED / "zip_stored").glob("*.zip"))
    with zipfile.ZipFile(shutil.copy(photo, tmp_path), "a") as archive:
        archive.writestr("photos/README.txt", "who drew these")
        archive.writestr("photos/labels.npy", "1")
    assert open_source(tmp_path).left_out.files == {".md": 1, ".npy": 1, ".txt": 1}


def test_a_zip_beside_class_folders_changes_nothing(tmp_path: Path) -> None:
    shutil.copy(RECORDED / "zip_stored" / "train.zip", tmp_path)
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "1.png").write_bytes(b"x")
    assert open_source(tmp_path).kind == "folder"


def test_a_zip_of_something_else_says_what_is_in_it(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("no image")
    subprocess.run(["zip", "-q", "a.zip", "0.txt", "1.txt", "2.txt"], cwd=tmp_path, check=True)
    with pytest.raises(ValueError, match=r"no class folders with images in a\.zip, but 3 \.txt: unzip"):
        open_source(tmp_path / "a.zip")


# Energon


def test_energons_yaml_is_read_and_nothing_else_of_yaml() -> None:
    text = "# made\nsplit_parts:\n  train:\n  - a.tar\n  - '{b,c}.tar'\n  val: []\nexclude:\n- a.tar/3\n"
    assert parse_yaml(text) == {"split_parts": {"train": ["a.tar", "{b,c}.tar"], "val": []}, "exclude": ["a.tar/3"]}
    for wrong in ("a: b", "a: [b]", "- &x b", "a:\n  b: !!python/object:x", "a", "a:\n  - b: c\n  d"):
        with pytest.raises(ValueError, match="line"):
            parse_yaml(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("split_parts:\n  train:\n  - shard_000.tar\nexclude:\n- shard_000.tar/1\n", "leaves out single samples"),
        ("split_parts:\n  mine:\n  - shard_000.tar\n", "has a split mine: call it train, val or test"),
        ("split_parts: x\n", r"split\.yaml is not as Energon writes it \(line 1"),
        ("split_parts:\n  train: []\n", "names no shard: prepare the dataset again"),
    ],
)
def test_splits_of_energon_that_cannot_be_followed_are_refused(text: str, message: str, tmp_path: Path) -> None:
    folder = copied("energon", tmp_path)
    (folder / ".nv-meta" / "split.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_source(folder)


def test_a_shard_that_energon_excludes_is_left_out(tmp_path: Path) -> None:
    folder = copied("energon", tmp_path)
    (folder / ".nv-meta" / "split.yaml").write_text(
        "split_parts:\n  train:\n  - shard_{000..001}.tar\nexclude:\n- shard_000.tar\n"
    )
    source = open_source(folder)
    assert {split: rows_of(source, split) for split in source.splits} == {"train": wanted("energon")["train"][3:]}


# What is not known


def test_tars_that_are_compressed_are_refused_alone_and_beside_others(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(ValueError, match=r"compressed, such as train-0\.tar\.gz.*decompress them first"):
        open_source(tmp_path)
    shutil.copy(RECORDED / "energon" / "shard_000.tar", tmp_path / "train-1.tar")
    with pytest.raises(ValueError, match=r"train-0\.tar\.gz is compressed.*decompress it first"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match=r"train-0\.tar\.gz is compressed.*decompress it first"):
        open_dataset(tmp_path)


def test_what_is_not_known_says_what_was_found(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz", "c.h5", "README"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"(?s)nothing to convert: expected.*found there: 2 \.npz, 1 .*\.h5"):
        open_source(tmp_path)


def test_a_file_that_the_state_does_not_name_is_no_part_of_the_dataset(tmp_path: Path) -> None:
    folder = copied("arrow_filtered", tmp_path)
    shutil.copy(folder / "data-00000-of-00001.arrow", folder / "old.arrow")
    assert rows_of(open_source(folder), "train") == wanted("arrow_filtered")["train"]


def test_several_datasets_beside_each_other_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(RECORDED / "arrow_filtered", tmp_path / name)
    with pytest.raises(ValueError, match=r"several datasets for train \(one/, two/\): name one of them"):
        open_source(tmp_path)


def test_files_by_a_pattern_need_no_index(tmp_path: Path) -> None:
    source = open_source(f"{RECORDED}/mds_png/train/*.mds", reading=reading("mds_png"))
    assert rows_of(source, "train") == wanted("mds_png")["train"]
    assert np.diff(source.splits["train"]["offset"].to_numpy()).any()
