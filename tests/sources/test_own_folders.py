"""What imagefeed has written below a source is no source, unless it is what is named; what may be meant is refused."""

import shutil
from pathlib import Path

import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.sources.describe import describe_source
from imagefeed.pipeline.sources.open_source import open_source


@pytest.fixture
def source(images: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(images / "train", tmp_path / "source"))


def unfinished(split: Path) -> None:
    """As a kill leaves it."""
    (split / "manifest.json").unlink()
    (split / ".records").mkdir()


@pytest.mark.parametrize("format", ["tar", "both"])
@pytest.mark.parametrize("where", ["shards", "ant/shards", "new/deep/shards"])
@pytest.mark.parametrize("killed", [False, True])
def test_shards_below_the_images_are_passed_over(
    source: Path, images: Path, where: str, format: str, killed: bool
) -> None:
    expected = open_source(source)
    splits = convert(source, source / where, ConvertOptions(format=format, shard_size=9))  # type: ignore[arg-type]
    if killed:
        for split in splits:
            unfinished(split)
    again = open_source(source)
    assert (again.splits, again.classes, again.left_out) == (expected.splits, expected.classes, expected.left_out)
    assert again.digest("train") == expected.digest("train")
    first = min(str(split.relative_to(source)) for split in splits)
    assert describe_source(again).splitlines()[2].startswith(f"passed over: {first}")


def test_a_folder_that_will_be_the_output_is_no_class(source: Path, images: Path) -> None:
    expected = open_source(source)
    (source / "empty" / "deep").mkdir(parents=True)
    assert open_source(source, out=str(source / "empty")) == expected
    assert "empty" in [each.wnid for each in open_source(source).classes]
    (manifest,) = convert(source, source / "empty").values()
    assert manifest.classes == expected.classes
    shutil.rmtree(source / "empty" / "train")  # what then stays is the lock
    assert open_source(source).classes == expected.classes


def test_a_dataset_that_is_named_is_the_source(source: Path, tmp_path: Path) -> None:
    convert(source, source / "shards", ConvertOptions(shard_size=9))
    for named in (source / "shards", source / "shards" / "train"):
        assert open_source(named).kind == "imagefeed"
    assert open_source(f"{source}/shards/train/shard-*.tar").kind == "tar"
    (source / "shards" / "notes.txt").write_text("a list of nothing")
    assert open_source(source / "shards").kind == "imagefeed"


@pytest.mark.parametrize("format", ["tar", "both"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_dataset_and_something_else_side_by_side_are_refused(
    source: Path, tmp_path: Path, killed: bool, format: str
) -> None:
    splits = convert(source, tmp_path / "out", ConvertOptions(shard_size=9, format=format))  # type: ignore[arg-type]
    shutil.copytree(source / "bee", tmp_path / "out" / "bee")
    for split in splits if killed else ():
        unfinished(split)
    with pytest.raises(ValueError, match="holds both what imagefeed has written .*name the folder that is meant"):
        open_source(tmp_path / "out")


@pytest.mark.parametrize("named", ["", "train"])
@pytest.mark.parametrize("killed", [False, True])
def test_images_within_a_folder_of_ours_are_refused(images: Path, tmp_path: Path, killed: bool, named: str) -> None:
    """As when the output was the source."""
    shutil.copytree(images, tmp_path / "both")
    convert(images, tmp_path / "out", ConvertOptions(shard_size=9))
    shutil.copytree(tmp_path / "out", tmp_path / "both", dirs_exist_ok=True)
    if killed:
        unfinished(tmp_path / "both" / "train")
    with pytest.raises(ValueError, match=r"train.* holds both what imagefeed has written \(.*\) and images"):
        open_source(tmp_path / "both" / named)


def test_a_conversion_that_has_not_finished_is_no_source(images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path / "out", ConvertOptions(shard_size=9))
    unfinished(tmp_path / "out" / "val")
    for named in ("", "val"):
        with pytest.raises(ValueError, match="is a conversion that has not finished: run that again first"):
            open_source(tmp_path / "out" / named)
    assert open_source(tmp_path / "out" / "train").kind == "imagefeed"
