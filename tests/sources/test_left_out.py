"""What a source holds and a conversion does not take is counted in a line of the summary and in the manifest."""

import json
from pathlib import Path

import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.formats.left_out import LeftOut, left_files, left_members
from imagefeed.pipeline.sources.open_source import open_source
from tests.support.brought import tar_of, touch


def test_a_line_says_what_is_left_out_of_how_many() -> None:
    left = left_files(["a.txt", "b.TXT", "c/README", "d.tar.gz"]) + left_members(["x.md"], "y.tar")
    left += LeftOut(splits={"test": "it has no labels"})
    assert left.describe() == (
        "1 file without a suffix, 1 file .gz, 2 files .txt, 1 member .md, the split test (it has no labels); "
        "the first: a.txt"
    )
    assert left and not LeftOut() and LeftOut() + left == left


def test_the_summary_and_the_manifest_say_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    touch(tmp_path / "in", ["train/ant/0.jpg", "train/bee/1.jpg", "test/0.jpg", "notes/a.txt", "b.txt"])
    (manifest,) = convert(tmp_path / "in", tmp_path / "out").values()
    expected = LeftOut(
        files={".jpg": 1, ".txt": 2}, splits={"test": "its images lie in no class folder"}, first="b.txt"
    )
    assert manifest.left_out == expected
    assert f"\nleft out: {expected.describe()}\n" in capsys.readouterr().err
    assert Manifest.load(tmp_path / "out" / "train").left_out == expected


def test_where_nothing_is_left_out_the_manifest_is_as_it_was(tmp_path: Path) -> None:
    touch(tmp_path / "in", ["ant/0.jpg", "bee/1.jpg"])
    convert(tmp_path / "in", tmp_path / "out")
    text = (tmp_path / "out" / "train" / "manifest.json").read_text()
    assert "left_out" not in json.loads(text)
    (tmp_path / "in" / "notes.txt").write_text("later")
    convert(tmp_path / "in", tmp_path / "out")  # what is left out is no part of what a split is made from
    assert (tmp_path / "out" / "train" / "manifest.json").read_text() == text


def test_members_of_tars_are_counted_but_for_those_that_become_fields(tmp_path: Path) -> None:
    files = {f"{key}.{suffix}": f"{key}" for key in (0, 1) for suffix in ("jpg", "cls", "txt", "npy")}
    tar_of(tmp_path / "a.tar", files)
    assert open_source(tmp_path).left_out.members == {".npy": 2, ".txt": 2}
    assert open_source(tmp_path, ("txt",)).left_out.members == {".npy": 2}


def test_splits_that_were_not_asked_for_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "in", [f"{split}/{name}/0.jpg" for split in ("train", "dev", "test") for name in ("ant", "bee")])
    made = convert(tmp_path / "in", tmp_path / "out", ConvertOptions(splits=("train,test",)))
    assert [each.split for each in made.values()] == ["train", "test"]
    for manifest in made.values():
        assert manifest.left_out == LeftOut(splits={"val": "--splits leaves it out"})
    with pytest.raises(ValueError, match="split 'both': choose among train, val and test"):
        ConvertOptions(splits=("both",))
