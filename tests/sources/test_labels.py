"""A label stays what the source says, or the source is refused: none is given to another class in silence."""

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import Class, Manifest
from imagefeed.pipeline.sources.class_order import in_order, natural_key
from imagefeed.pipeline.sources.describe import describe_source
from imagefeed.pipeline.sources.image_table import Source, key_of, unique_keys
from imagefeed.pipeline.sources.open_source import open_source
from tests.conftest import encoded, picture


def touch(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(picture(0, 32, 32)))


def labels(source: Source, split: str = "train") -> dict[str, int]:
    table = source.splits[split]
    return dict(zip(table["key"].to_pylist(), table["label"].to_pylist(), strict=True))


def names(source: Source) -> list[str]:
    return [each.wnid for each in source.classes]


# Class folders


def test_an_empty_class_folder_is_a_class_and_that_is_said(tmp_path: Path) -> None:
    touch(tmp_path, ["ant/0.jpg", "cow/0.jpg"])
    (tmp_path / "bee" / "deep").mkdir(parents=True)
    (tmp_path / "bee" / ".0.jpg.part").write_bytes(b"")
    source = open_source(tmp_path)
    assert names(source) == ["ant", "bee", "cow"] and labels(source) == {"ant/0": 0, "cow/0": 2}
    said = describe_source(source).splitlines()[1:]
    assert said == [
        "labels: 0 ant, 1 bee, 2 cow (alphabetical order of the names)",
        "without an image: 1 of the classes, such as bee",
    ]


def test_an_empty_class_folder_of_a_split(tmp_path: Path) -> None:
    touch(tmp_path, ["train/ant/0.jpg", "train/cow/0.jpg", "val/cow/0.jpg"])
    for folder in ("train/bee", "val/ant", "val/dog", "test"):
        (tmp_path / folder).mkdir()
    source = open_source(tmp_path)
    assert names(source) == ["ant", "bee", "cow"]
    assert labels(source, "val") == {"cow/0": 2}
    assert source.notes == ("no split: test, with nothing in it", "no class: val/dog, with nothing in it")
    (tmp_path / "val/cow/0.jpg").unlink()
    source = open_source(tmp_path)
    assert list(source.splits) == ["train"]
    assert source.notes == ("no split: test, with nothing in it", "no split: val, with nothing in it")


def test_a_folder_with_files_and_no_image_is_no_class_and_that_is_said(tmp_path: Path) -> None:
    touch(tmp_path, ["ant/0.jpg", "cow/0.jpg"])
    for name in ("bee/0.jpg.crdownload", "docs/deep/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    source = open_source(tmp_path)
    assert names(source) == ["ant", "cow"]
    assert describe_source(source).splitlines()[2:] == [
        "no class: bee and 1 more, with files and no image in it",
        "left out: 1 file .crdownload, 1 file .txt; the first: bee/0.jpg.crdownload",
    ]


def test_an_empty_folder_that_may_be_a_split_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["ant/0.jpg"])
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match=r"/val is an empty folder beside class folders.*remove it"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["val", "train", "test", "validation"])
def test_a_class_may_be_called_like_a_split(name: str, tmp_path: Path) -> None:
    touch(tmp_path, ["ant/0.jpg", f"{name}/0.jpg", "zoo/deep/0.jpg"])
    source = open_source(tmp_path)
    assert list(source.splits) == ["train"] and names(source) == ["ant", name, "zoo"]


def test_a_class_called_val_with_folders_in_it_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["ant/0.jpg", "val/deep/0.jpg"])
    with pytest.raises(ValueError, match="has val and other folders with images beside, such as ant"):
        open_source(tmp_path)


def test_line_feeds_in_names_change_nothing(tmp_path: Path) -> None:
    touch(tmp_path, ["an\nt/0.jpg", "an\nt/\n1.jpg", "bee/de\nep/0\n.jpg"])
    source = open_source(tmp_path)
    assert names(source) == ["an\nt", "bee"] and not source.left_out
    assert labels(source) == {"an\nt/\n1": 0, "an\nt/0": 0, "bee/de\nep/0\n": 1}
    assert r"labels: 0 an\nt, 1 bee (" in describe_source(source)


def test_names_that_are_no_utf8_are_escaped(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"in", b"b\xe9")
    os.makedirs(folder)
    touch(tmp_path / "in", ["cow/0.jpg"])
    Path(os.fsdecode(os.path.join(folder, b"caf\xe9.jpg"))).write_bytes(encoded(picture(1, 32, 32)))
    (manifest,) = convert(tmp_path / "in", tmp_path / "out").values()
    assert [each.wnid for each in manifest.classes] == ["b\\xe9", "cow"]
    assert (
        labels(open_source(tmp_path / "in"))
        == labels(open_source(tmp_path / "out"))
        == {
            "b\\xe9/caf\\xe9": 0,
            "cow/0": 1,
        }
    )


def test_a_dead_link_is_an_error_where_it_stands_for_an_image(tmp_path: Path) -> None:
    touch(tmp_path, ["ant/0.jpg"])
    for name in ("notes.txt", "ant/notes.txt", "loose.jpg"):
        (tmp_path / name).symlink_to("nowhere")
    assert labels(open_source(tmp_path)) == {"ant/0": 0}
    (tmp_path / "ant" / "1.jpg").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match=r"/ant/1\.jpg is no file .*remove it"):
        open_source(tmp_path)


# Keys


def test_images_of_one_stem_keep_their_suffixes(tmp_path: Path) -> None:
    touch(
        tmp_path,
        ["a/x.jpg", "a/x.png", "a/y.jpg", "b/x.jpg", "c/p.q.jpg", "c/p_q.jpg", "d/z.jpg", "d/z.png", "d/z_jpg.gif"],
    )
    assert list(labels(open_source(tmp_path))) == sorted(
        ["a/x_jpg", "a/x_png", "a/y", "b/x", "c/p%2Eq%2Ejpg", "c/p_q%2Ejpg", "d/z%2Ejpg", "d/z_png", "d/z_jpg%2Egif"]
    )


@given(st.sets(st.text("ab._", min_size=1, max_size=4), min_size=1, max_size=12))
def test_keys_are_unique_and_have_no_dots(stems: set[str]) -> None:
    files = sorted(f"{stem}.{suffix}" for stem in stems for suffix in ("jpg", "png"))
    keys = unique_keys(pa.array(files)).to_pylist()
    assert len(set(keys)) == len(files) and "." not in "".join(keys)
    alone = sorted(f"{stem}x.jpg" for stem in stems if "." not in stem and "_" not in stem)
    assert unique_keys(pa.array(alone, pa.string())) == key_of(pa.array(alone, pa.string()))


def tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def test_tars_whose_keys_begin_anew_get_the_names_of_the_files(tmp_path: Path) -> None:
    for split, shard in (("train", 0), ("train", 1), ("val", 0)):
        members = {
            f"{key}.{suffix}": data
            for key in "01"
            for suffix, data in (("jpg", encoded(picture(shard, 32, 32))), ("cls", b"%d" % shard))
        }
        tar(tmp_path / split / f"part.{shard}.tar", members)
    source = open_source(tmp_path)
    assert labels(source) == {f"train/part.{shard}/{key}": shard for shard in (0, 1) for key in "01"}
    assert labels(source, "val") == {"0": 0, "1": 0}  # where nothing is the same nothing changes


def test_keys_that_lead_out_of_a_tar_are_made_relative(tmp_path: Path) -> None:
    image = encoded(picture(0, 32, 32))
    tar(
        tmp_path / "a.tar",
        {
            "/x/0.jpg": image,
            "/x/0.cls": b"0",
            "../y/0.jpg": image,
            "../y/0.cls": b"1",
            "./z.jpg": image,
            "./z.cls": b"0",
        },
    )
    assert labels(open_source(tmp_path)) == {"x/0": 0, "y/0": 1, "./z": 0}
    tar(tmp_path / "b.tar", {"/x.jpg": image, "/x.cls": b"0", "x.jpg": image, "x.cls": b"1"})
    with pytest.raises(ValueError, match="two images have the key"):
        open_source(tmp_path / "b.tar")


def test_keys_of_a_list_lead_down(tmp_path: Path) -> None:
    touch(tmp_path, ["in/a/0.jpg", "other/b/1.jpg"])
    (tmp_path / "in" / "list.txt").write_text(f"{tmp_path}/in/a/0.jpg 0\n../other/b/1.jpg 1\n")
    source = open_source(tmp_path / "in" / "list.txt")
    assert labels(source) == {"a/0": 0, "other/b/1": 1}
    moved = tmp_path / "moved"
    (tmp_path / "in").rename(moved)
    (moved / "list.txt").write_text("a/0.jpg 0\n../other/b/1.jpg 1\n")
    assert open_source(moved / "list.txt").digest("train") == source.digest("train")
    (moved / "list.txt").write_text(f"{tmp_path}/other/b/1.jpg 0\n")
    assert list(labels(open_source(moved / "list.txt"))) == [f"{tmp_path}/other/b/1"[1:]]
    touch(moved, ["other/b/1.jpg"])
    (moved / "list.txt").write_text("other/b/1.jpg 0\n../other/b/1.jpg 1\n")
    with pytest.raises(ValueError, match=r"two images have the key other/b/1.*: .*rename one"):
        open_source(moved / "list.txt")


def test_an_image_that_is_listed_twice_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "list.txt").write_text("a.jpg 0\nb.jpg 1\na.jpg 1\nb.jpg 0\n")
    with pytest.raises(ValueError, match=r"a\.jpg and a\.jpg, and 1 others like them; list it once"):
        open_source(tmp_path / "list.txt")


# Lists


def read(tmp_path: Path, words: Iterable[object], suffix: str = "txt", classes: str = "") -> Source:
    """A list of images 0.jpg, 1.jpg, ... with these labels."""
    words = list(words)
    touch(tmp_path, [f"{number}.jpg" for number in range(len(words))])
    if classes:
        (tmp_path / "classes.txt").write_text(classes)
    head, line = {
        "txt": ("", "{0}.jpg {1}\n"),
        "csv": ("path,label\n", "{0}.jpg,{1}\n"),
        "jsonl": ("", '{{"path": "{0}.jpg", "label": {1}}}\n'),
    }[suffix]
    (tmp_path / f"list.{suffix}").write_text(
        head + "".join(line.format(number, word) for number, word in enumerate(words))
    )
    return open_source(tmp_path / f"list.{suffix}")


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl"])
@pytest.mark.parametrize("spell", ["{}", "{}.0"])
def test_numbers_are_numbers_however_they_are_written(suffix: str, spell: str, tmp_path: Path) -> None:
    source = read(tmp_path, [spell.format(label) for label in (10, 0, 2, 9)], suffix)
    assert labels(source) == {"0": 10, "1": 0, "2": 2, "3": 9}
    assert names(source) == [str(label) for label in range(11)]
    assert describe_source(source).splitlines()[1:] == [
        "labels: 0 to 10 (the source's own numbers)",
        "without an image: 7 of the classes, such as 1",
    ]


@pytest.mark.parametrize("odd", ["-1", "nan", "dog", "0.5", "+3", "1e3", "-0", ""])
def test_numbers_beside_something_else_are_refused_with_the_image(odd: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3\.jpg has the label|line 4 is no path and label"):
        read(tmp_path, [0, 1, 2, odd])


def test_one_number_beside_names_is_refused_and_classes_txt_is_the_cure(tmp_path: Path) -> None:
    words = ["ant", "747", "cow"]
    with pytest.raises(ValueError, match=r"0\.jpg has the label ant, and others 747.*name all of them in classes\.txt"):
        read(tmp_path, words)
    source = read(tmp_path, words, classes="cow\n747\nant\n")
    assert labels(source) == {"0": 2, "1": 1, "2": 0}
    assert describe_source(source).endswith("\nlabels: 0 cow, 1 747, 2 ant (lines of classes.txt)")


def test_a_validation_list_without_labels_does_not_move_those_of_training(tmp_path: Path) -> None:
    touch(tmp_path, ["0.jpg", "1.jpg", "2.jpg"])
    (tmp_path / "train.txt").write_text("0.jpg 0\n1.jpg 1\n")
    (tmp_path / "val.txt").write_text("2.jpg -1\n")
    with pytest.raises(ValueError, match=r"2\.jpg has the label -1"):
        open_source(tmp_path)


@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_byte_order_marks_and_latin_1(suffix: str, tmp_path: Path) -> None:
    touch(tmp_path, ["img/0.jpg"])
    folder = os.fsencode(tmp_path)
    Path(os.fsdecode(os.path.join(folder, b"img/\xe9.jpg"))).write_bytes(encoded(picture(1, 32, 32)))
    text = (
        b"\xef\xbb\xbf"
        + (b"path,label\n" if suffix == "csv" else b"")
        + b"img/0.jpg 0\nimg/\xe9.jpg 1\n".replace(b" ", b"," if suffix == "csv" else b" ")
    )
    (tmp_path / f"list.{suffix}").write_bytes(text)
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfant\nb\xe9e\n")
    source = open_source(tmp_path / f"list.{suffix}")
    assert names(source) == ["ant", "b\\xe9e"] and labels(source) == {"img/0": 0, "img/\\xe9": 1}
    (tmp_path / f"list.{suffix}").write_bytes(text.decode("latin-1").encode("utf-16"))
    with pytest.raises(ValueError, match=f"list.{suffix} is no UTF-8"):
        open_source(tmp_path / f"list.{suffix}")


def test_other_ends_of_lines_belong_to_names(tmp_path: Path) -> None:
    touch(tmp_path, ["a\u2028b.jpg", "\u3000c.jpg"])
    (tmp_path / "list.txt").write_text("a\u2028b.jpg 0\r\n\u3000c.jpg 1\r\n")
    assert labels(open_source(tmp_path / "list.txt")) == {"a\u2028b": 0, "\u3000c": 1}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([0, None, 2], r"a\.parquet: row 1 \(sample a/00000001\) has no label"),
        ([0.0, float("nan"), 2.0], r"a\.parquet: labels are numbers from 0 on, and one is something else"),
        ([0, 0.5, 2], r"a\.parquet: labels are numbers from 0 on, and one is something else"),
        ([0, -1, 2], r"a\.parquet: row 1 \(sample a/00000001\) has the label -1"),
        ([-1, -1, -1], r"a\.parquet: sample a/00000000 has the label -1"),
    ],
)
def test_parquet_without_a_label_names_file_and_sample(column: list, message: str, tmp_path: Path) -> None:
    images = [{"bytes": encoded(picture(0, 32, 32)), "path": None}] * 3
    pq.write_table(pa.table({"image": images, "label": column}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        open_source(tmp_path)


# The order of names


@given(st.lists(st.text("a1290", max_size=5), unique=True))
def test_natural_order_counts(words: list[str]) -> None:
    found = sorted((Class(word, word) for word in words), key=natural_key)
    assert sorted(found, key=natural_key) == found
    numbers = [int(each.wnid) for each in found if each.wnid.isdecimal()]
    assert numbers == sorted(numbers)


def test_the_order_of_numbered_folders_is_said_and_may_be_chosen(tmp_path: Path) -> None:
    touch(tmp_path / "in", [f"{split}/{name}/0.jpg" for split in ("train", "val") for name in ("1", "2", "10")])
    alphabetical, natural = open_source(tmp_path / "in"), in_order(open_source(tmp_path / "in"), "natural")
    assert describe_source(alphabetical).endswith(
        "\nlabels: 0 1, 1 10, 2 2 (alphabetical order of the names; with --order natural 0 1, 1 2, 2 10)"
    )
    assert describe_source(natural).endswith("\nlabels: 0 1, 1 2, 2 10 (natural order of the names)")
    for split in ("train", "val"):
        assert labels(natural, split) == {"1/0": 0, "2/0": 1, "10/0": 2}
        assert natural.digest(split) != alphabetical.digest(split)
    made = convert(tmp_path / "in", tmp_path / "out", ConvertOptions(order="natural"))
    manifest = made[tmp_path / "out" / "val"]
    assert [each.wnid for each in manifest.classes] == ["1", "2", "10"]
    assert Manifest.load(tmp_path / "out" / "val").class_order == "natural"
    again = convert(tmp_path / "out", tmp_path / "again")[tmp_path / "again" / "val"]
    assert (again.classes, again.class_order) == (manifest.classes, "natural")


def test_natural_order_that_is_the_alphabets_leaves_the_bytes(tmp_path: Path) -> None:
    touch(tmp_path / "in", ["ant/0.jpg", "bee/0.jpg"])
    made = [
        convert(tmp_path / "in", tmp_path / order, ConvertOptions(order=order)) for order in ("natural", "alphabetical")
    ]
    first, second = (next(iter(each)) / "manifest.json" for each in made)
    assert first.read_bytes() == second.read_bytes() and b"class_order" not in first.read_bytes()


def test_labels_that_have_a_rule_keep_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"numbered by a rule already \(the source's own numbers\): leave out --order"):
        in_order(read(tmp_path, [0, 1]), "natural")
