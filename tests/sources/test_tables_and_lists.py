"""Parquet files and lists as people have them: labels by their own names, columns by theirs."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.dataset.classes import parse_classes
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reader import read_rows
from imagefeed.pipeline.sources.reading import ReadOptions
from tests.support.brought import IMAGE, classes_of, parquet, tar_of, touch

# Parquet


def test_each_file_has_its_own_names(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [0, 1], ["cat", "dog"])
    parquet(tmp_path / "train-1.parquet", [0, 1, 2], ["dog", "cat", "emu"])
    source = open_source(tmp_path)
    assert list(classes_of(source).values()) == ["0", "1", "1", "0", "2"]
    assert [each.words for each in source.classes] == ["cat", "dog", "emu"]
    assert source.notes == (
        "train-1.parquet numbers its classes otherwise than train-0.parquet: labels go by the names",
    )
    parquet(tmp_path / "train-2.parquet", [0])
    with pytest.raises(ValueError, match=r"name their classes in different ways, and train-2\.parquet does not"):
        open_source(tmp_path)


def test_a_file_without_names_goes_by_the_others(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [0, 1], ["cat", "dog"])
    parquet(tmp_path / "train-1.parquet", [1])
    source = open_source(tmp_path)
    assert [each.words for each in source.classes] == ["cat", "dog"] and len(source.splits["train"]) == 3
    assert source.notes == ("train-1.parquet names no classes: its labels are taken as those of train-0.parquet",)


def test_a_labelled_test_split_is_a_split_and_val_comes_from_nowhere_else(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [0, 1])
    parquet(tmp_path / "test-0.parquet", [1, 0])
    assert list(open_source(tmp_path).splits) == ["train", "test"]
    assert list(open_source(tmp_path / "test-0.parquet").splits) == ["test"]


@pytest.mark.parametrize("labels", [[-1, -1], [None, None], "none"])
def test_a_test_split_without_labels_is_left_out(labels: Any, tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [0, 1])
    if labels == "none":
        parquet(tmp_path / "test-0.parquet", ["a", "b"], column="caption")
    else:
        parquet(tmp_path / "test-0.parquet", pa.array(labels, pa.int64()))
    source = open_source(tmp_path)
    assert list(source.splits) == ["train"]
    assert source.left_out.describe() == "the split test (it has no labels)"
    with pytest.raises(ValueError, match=r"test-0\.parquet.*has the label -1"):
        open_source(tmp_path / "test-0.parquet")


def test_labels_that_are_text_are_numbered_by_their_sorted_names_over_all_files(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", ["dog", "emu"])
    parquet(tmp_path / "train-1.parquet", pa.array(["emu", "cat"]).dictionary_encode())
    parquet(tmp_path / "train-2.parquet", pa.array([], pa.int64()))  # a file without a row says nothing
    source = open_source(tmp_path)
    assert [each.wnid for each in source.classes] == ["cat", "dog", "emu"]
    assert list(classes_of(source).values()) == ["dog", "emu", "emu", "cat"]
    (tmp_path / "classes.txt").write_text("emu\ndog\ncat\n")
    source = open_source(tmp_path)
    assert [each.wnid for each in source.classes] == ["emu", "dog", "cat"]
    assert list(classes_of(source).values()) == ["dog", "emu", "emu", "cat"]


@pytest.mark.parametrize(
    "column", ["label", "cls", "labels", "target", "class", "fine_label", "category", "coarse_label"]
)
def test_columns_of_labels(column: str, tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [0, 1], column=column)
    assert list(classes_of(open_source(tmp_path)).values()) == ["0", "1"]


def test_several_columns_of_labels_are_refused_and_chosen(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [0, 1], column="fine_label", coarse_label=[1, 0], odd=[0, 0])
    with pytest.raises(ValueError, match=r"a\.parquet.*fine_label and coarse_label may be meant.*--label fine_label"):
        open_source(tmp_path)
    for column, expected in (("fine_label", ["0", "1"]), ("coarse_label", ["1", "0"]), ("odd", ["0", "0"])):
        source = open_source(tmp_path, reading=ReadOptions(label=column))
        assert list(classes_of(source).values()) == expected
    with pytest.raises(ValueError, match="has no column fine_lable .did you mean fine_label"):
        open_source(tmp_path, reading=ReadOptions(label="fine_lable"))


def test_several_columns_of_images_are_refused_and_chosen(tmp_path: Path) -> None:
    other = [{"bytes": b"other", "path": None}] * 2
    parquet(tmp_path / "a.parquet", [0, 1], mask=other)
    with pytest.raises(ValueError, match=r"a\.parquet.*--image image"):
        open_source(tmp_path)
    for column, expected in (("image", IMAGE), ("mask", b"other")):
        source = open_source(tmp_path, reading=ReadOptions(image=column))
        assert list(read_rows(source.root, source.splits["train"])) == [expected] * 2


def test_a_column_of_bytes_alone(tmp_path: Path) -> None:
    """As img2dataset and many by hand."""
    pq.write_table(pa.table({"jpg": [IMAGE, IMAGE], "label": [0, 1]}), tmp_path / "a.parquet")
    source = open_source(tmp_path)
    assert list(read_rows(source.root, source.splits["train"])) == [IMAGE, IMAGE]


@pytest.mark.parametrize("relative", [False, True])
def test_images_that_are_not_embedded_are_read_where_their_paths_lead(relative: bool, tmp_path: Path) -> None:
    touch(tmp_path / "in/images", ["1.jpg", "2.jpg"])
    prefix = "images" if relative else f"{tmp_path}/in/images"
    pictures = pa.array(
        [{"bytes": None, "path": f"{prefix}/{number}.jpg"} for number in (1, 2)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    pq.write_table(pa.table({"image": pictures, "label": [0, 1]}), tmp_path / "in/a.parquet")
    source = open_source(tmp_path / "in/a.parquet")
    assert source.splits["train"]["key"].to_pylist() == ["1", "2"]
    assert list(read_rows(source.root, source.splits["train"])) == [IMAGE, IMAGE]
    (manifest,) = convert(tmp_path / "in/a.parquet", tmp_path / "out").values()
    assert manifest.num_samples == 2
    (tmp_path / "in/images/2.jpg").unlink()
    with pytest.raises(ValueError, match=r"row 1, .*2\.jpg, leads to no file: .*embed_table_storage"):
        open_source(tmp_path / "in/a.parquet")


def test_several_configurations(tmp_path: Path) -> None:
    for folder in ("plain", "cropped"):
        parquet(tmp_path / folder / "train-00000-of-00001.parquet", [0, 1])
    with pytest.raises(ValueError, match=rf"cropped and plain; name one of them, {tmp_path}/plain"):
        open_source(tmp_path)
    assert len(open_source(tmp_path / "plain").splits["train"]) == 2
    for split in ("train", "test"):  # as the Hub converts them
        parquet(tmp_path / "hub" / split / "0000.parquet", [0, 1])
    assert list(open_source(tmp_path / "hub").splits) == ["train", "test"]


def test_labels_that_begin_at_1(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [1, 2])
    with pytest.raises(ValueError, match="labels go from 1 to 2"):
        open_source(tmp_path)
    assert list(classes_of(open_source(tmp_path, reading=ReadOptions(first_label=1))).values()) == ["0", "1"]
    assert len(open_source(tmp_path, reading=ReadOptions(first_label=0)).classes) == 3
    parquet(tmp_path / "a.parquet", [0, 1])
    with pytest.raises(ValueError, match=r"a\.parquet has the label 0: .* leave out --first-label"):
        open_source(tmp_path, reading=ReadOptions(first_label=1))
    parquet(tmp_path / "a.parquet", [1, 2], ["cat", "dog", "emu"])  # names tell that cat has no image
    assert [each.words for each in open_source(tmp_path).classes] == ["cat", "dog", "emu"]


# Lists


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "a b.jpg great white\nc.jpg emu\n"),
        ("l.txt", "a b.jpg\tgreat white\nc.jpg\temu\n"),
        ("l.txt", "a b.jpg,great white\nc.jpg, emu\n"),
        ("l.csv", "a b.jpg,great white\nc.jpg,emu\n"),
        ("l.txt", "file,label\na b.jpg,great white\nc.jpg,emu\n"),
        ("l.csv", "file,label\na b.jpg,great white\nc.jpg,emu\n"),
        ("l.tsv", "filename\tclass\na b.jpg\tgreat white\nc.jpg\temu\n"),
        ("l.jsonl", '{"file": "a b.jpg", "label": "great white"}\n{"file": "c.jpg", "label": "emu"}\n'),
        ("l.lst", "0\t1.0\ta b.jpg\n1\t0.0\tc.jpg\n"),
    ],
)
def test_lists_with_tabs_commas_and_headers(name: str, text: str, tmp_path: Path) -> None:
    touch(tmp_path, ["a b.jpg", "c.jpg"])
    (tmp_path / name).write_text(text)
    if name == "l.txt" and "," not in text and "\t" not in text:
        with pytest.raises(FileNotFoundError, match="a b.jpg great: no such file"):  # the label is the last word
            open_source(tmp_path / name)
        return
    expected = ["1", "0"] if name == "l.lst" else ["great white", "emu"]
    assert list(classes_of(open_source(tmp_path / name)).values()) == expected


def test_columns_of_lists_may_be_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "l.csv").write_text("where,fine_label,coarse_label\na.jpg,x,y\nb.jpg,y,y\n")
    with pytest.raises(ValueError, match=r"columns where, fine_label, coarse_label: it needs one of path.*--image"):
        open_source(tmp_path / "l.csv")
    with pytest.raises(ValueError, match="fine_label and coarse_label may be meant.*--label fine_label"):
        open_source(tmp_path / "l.csv", reading=ReadOptions(image="where"))
    source = open_source(tmp_path / "l.csv", reading=ReadOptions(image="where", label="fine_label"))
    assert classes_of(source) == {"a": "x", "b": "y"}


def test_a_list_of_labels_from_1_by_the_cure_that_is_printed(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "l.txt").write_text("a.jpg 1\nb.jpg 2\n")
    with pytest.raises(ValueError, match="--first-label 0; if they are counted from 1, --first-label 1"):
        open_source(tmp_path / "l.txt")
    assert classes_of(open_source(tmp_path / "l.txt", reading=ReadOptions(first_label=1))) == {"a": "0", "b": "1"}
    assert classes_of(open_source(tmp_path / "l.txt", reading=ReadOptions(first_label=0))) == {"a": "1", "b": "2"}
    (tmp_path / "classes.txt").write_text("gold fish\nwhite shark\n")
    with pytest.raises(ValueError, match="the label 2, and classes.txt names 2 classes.*--first-label 1"):
        open_source(tmp_path / "l.txt")
    found = classes_of(open_source(tmp_path / "l.txt", reading=ReadOptions(first_label=1)))
    assert found == {"a": "gold fish", "b": "white shark"}


# Names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "gold fish\nwhite shark\n"),
        ("classnames.txt", "gold fish\r\nwhite shark\r\n"),
        ("classes.json", '["gold fish", "white shark"]'),
        ("class_names.json", '{"0": "gold fish", "1": "white shark"}'),
        ("class_to_idx.json", '{"white shark": 1, "gold fish": 0}'),
    ],
)
def test_files_of_names(name: str, content: str, tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", {"0.jpg": "", "0.cls": "1", "1.jpg": "", "1.cls": "0"})
    (tmp_path / name).write_text(content)
    source = open_source(tmp_path)
    assert classes_of(source) == {"0": "white shark", "1": "gold fish"} and not source.left_out
    (tmp_path / "classnames.json").write_text('["other", "names"]')
    with pytest.raises(ValueError, match=r"classnames\.json name other classes|and class.* name other classes"):
        open_source(tmp_path)


def test_the_index_of_imagenet_that_keras_has() -> None:
    (first, second) = parse_classes(b'{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}', "x.json")
    assert (first.wnid, first.words, second.words) == ("n01440764", "tench", "goldfish")
    with pytest.raises(ValueError, match=r"x\.json names no classes .*labels by name"):
        parse_classes(b'{"1": "cat"}', "x.json")
