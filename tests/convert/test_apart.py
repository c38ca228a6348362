"""Input and output are kept apart, before a conversion, after a kill, and when the same command runs again."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import webdataset

from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.convert import altered, repack
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.dry_run import estimate
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import MANIFEST, RECORDS
from imagefeed.pipeline.dataset.publish import tidy
from imagefeed.pipeline.dataset.split import Split
from tests.convert.test_convert import contents
from tests.support.ordinary import ordinary


def stops_after(count: int) -> Callable[..., Iterator[Any]]:
    """An executor that is killed when it has made so many shards."""

    def run(make: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for _, task in zip(range(count), tasks, strict=False):
            yield make(task)
        raise ConnectionError

    return run


def refuse(make: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """An executor for a conversion that has nothing to do."""
    assert not list(tasks)
    return iter(())


@pytest.fixture
def source(images: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(images, tmp_path / "source"))


@pytest.mark.parametrize(
    ("given", "out", "message"),
    [
        ("", "", "is both the source and the output: choose another folder"),
        ("", "../link", "is both the source and the output"),
        ("train", "", "train, where shards are to go, holds ant/000.jpg of the source"),
        ("train/ant", "", "holds "),
        ("*/ant/*.jpg", "", "train, where shards are to go, holds "),
        ("list.txt", "", "train, where shards are to go, holds train/ant/000.jpg of the source"),
        ("absolute.txt", "../link", "train, where shards are to go, holds train/ant/000.jpg of the source"),
        ("lists/above.txt", "", "train, where shards are to go, holds "),
    ],
)
def test_output_among_the_images_is_refused_before_anything_is_written(
    given: str, out: str, message: str, source: Path
) -> None:
    (source / "train" / "ant" / "deep").mkdir()  # images of a class may lie in folders, and so class folders in them
    shutil.copy(source / "train" / "ant" / "000.jpg", source / "train" / "ant" / "deep")
    (source / "list.txt").write_text("train/ant/000.jpg 0\n")
    (source / "absolute.txt").write_text(f"{source}/train/ant/000.jpg 0\n")
    (source / "lists").mkdir()
    (source / "lists" / "above.txt").write_text(f"{source}/train/ant/000.jpg 0\n")
    (source.parent / "link").symlink_to(source)
    before = contents(source)
    for act in (convert, estimate):
        with pytest.raises(ValueError, match=message):
            act(source / given, source / out)
    assert contents(source) == before and not list(source.rglob(".*"))


def test_output_below_the_images_may_be_killed_and_is_gone_on_with(source: Path, tmp_path: Path) -> None:
    options = ConvertOptions(shard_size=7)
    with pytest.raises(ConnectionError):
        convert(source, source / "shards", options, stops_after(2))
    convert(source, source / "shards", options)
    convert(source, tmp_path / "beside", options)
    assert contents(source / "shards") == contents(tmp_path / "beside")
    convert(source, source / "shards", options, refuse)


def test_a_source_below_the_output_is_fine_where_no_split_goes(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path, ConvertOptions(shard_size=7))
    made = contents(tmp_path)
    convert(tmp_path / "raw", tmp_path, ConvertOptions(shard_size=7), refuse)
    assert contents(tmp_path) == made and (tmp_path / "train" / "shard-00000.tar").is_file()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # WebDataset leaves its files open
@pytest.mark.parametrize(
    "first", [{"shard_size": 3}, {"shard_size": 3, "format": "beton"}, {"resize": "none", "shard_size": 3}]
)
@pytest.mark.parametrize("format", ["tar", "beton"])
def test_shards_of_an_interrupted_run_with_other_options_go(
    first: dict, format: str, source: Path, tmp_path: Path
) -> None:
    options = ConvertOptions(shard_size=20, format=format)  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        convert(source, tmp_path / "out", ConvertOptions(**first), stops_after(9))
    before = {path.name for path in (tmp_path / "out" / "train").iterdir()}
    assert len(before) == 10 and RECORDS in before
    convert(source, tmp_path / "out", options)
    convert(source, tmp_path / "afresh", options)
    assert contents(tmp_path / "out") == contents(tmp_path / "afresh")
    if format == "tar":
        shards = sorted(map(str, (tmp_path / "out" / "train").glob("*.tar")))
        keys = [sample["__key__"] for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)]
        assert len(keys) == len(set(keys)) == 28


def test_a_kill_before_the_tidying_is_made_good(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("imagefeed.pipeline.convert.convert.tidy", killed)
    with pytest.raises(ConnectionError):
        convert(images / "train", tmp_path, ConvertOptions(shard_size=20))
    shutil.copy(tmp_path / "train" / "shard-00000.tar", tmp_path / "train" / "shard-00009.tar")
    monkeypatch.setattr("imagefeed.pipeline.convert.convert.tidy", tidy)
    convert(images / "train", tmp_path, ConvertOptions(shard_size=20), refuse)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == [
        *("manifest.json", "mean_image.npy", "quarantine.parquet", "samples.parquet"),
        *("shard-00000.tar", "shard-00001.tar"),
    ]


@pytest.mark.parametrize("name", ["shard-00003.tar", "shard-00000.beton", "samples.parquet"])
def test_files_of_others_are_neither_overwritten_nor_removed(name: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / name).write_text("precious")
    with pytest.raises(FileExistsError, match=f"/val holds {name}, and no conversion has left a mark there"):
        convert(images, tmp_path)
    assert (tmp_path / "val" / name).read_text() == "precious"


def test_others_shards_are_not_overwritten_by_a_copy_of_them(shards: Path, tmp_path: Path) -> None:
    for shard in (shards / "tar" / "val").glob("*.tar"):
        shutil.copy(shard, tmp_path)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="no conversion has left a mark there"):
        repack.repack(Split.open(f"{tmp_path}/*.tar"), tmp_path, "beton")
    assert contents(tmp_path) == before


def test_a_killed_copy_is_no_dataset_and_its_shards_go(shards: Path, tmp_path: Path) -> None:
    """Else half of the shards would open as somebody's."""
    dataset = Split.open(shards / "tar" / "train")
    with pytest.raises(ConnectionError):
        repack.repack(dataset, tmp_path, "beton", stops_after(2))
    with pytest.raises(FileNotFoundError, match="its conversion has not finished"):
        Split.open(tmp_path)
    repack.repack(dataset, tmp_path, "tar")
    assert contents(tmp_path) == contents(shards / "tar" / "train")


def test_a_stray_shard_is_reported(shards: Path, tmp_path: Path) -> None:
    split = Path(shutil.copytree(shards / "tar" / "train", tmp_path / "train"))
    shutil.copy(split / "shard-00000.tar", split / "shard-00007.tar")
    shutil.copy(split / "shard-00000.tar", split / "mine.tar")  # what is not called like ours is nobody's fault
    for quick in (True, False):
        (fault,) = verify(Split.open(split), quick=quick)
        assert fault.startswith(f"{split}/shard-00007.tar is not of this split") and fault.endswith("remove it")


def test_a_finished_split_that_cannot_be_written_to_is_left_as_it_is(images: Path, tmp_path: Path) -> None:
    convert(images / "train", tmp_path / "out", ConvertOptions(shard_size=20))
    (tmp_path / "out" / ".lock").unlink()
    before = contents(tmp_path / "out")
    for folder in (tmp_path / "out", tmp_path / "out" / "train"):
        folder.chmod(0o500)
    command = "-m", "imagefeed", "convert", images / "train", tmp_path / "out", "--workers", "1", "--shard-size"
    same, other = (ordinary(*command, size) for size in (20, 19))
    for folder in (tmp_path / "out", tmp_path / "out" / "train"):
        folder.chmod(0o700)
    assert same.returncode == 0 and "28 images of 3 classes" in same.stdout, same.stderr
    assert other.returncode == 1 and "already holds a split made with --shard-size 20 and not 19" in other.stderr
    assert contents(tmp_path / "out") == before and not (tmp_path / "out" / ".lock").exists()


def altered_copy(path: Path) -> bytes:
    """A JPEG of other pixels and the same length."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    return bytes(data)


@pytest.mark.parametrize("how", ["written to", "replaced by an older file"])
@pytest.mark.parametrize("options", [{}, {"resize": "none"}, {"format": "beton", "raw": True}])
def test_a_finished_split_notices_an_image_of_the_same_size(
    how: str, options: dict, source: Path, tmp_path: Path
) -> None:
    def again() -> None:
        convert(source, tmp_path / "out", ConvertOptions(shard_size=7, **options), refuse)

    convert(source, tmp_path / "out", ConvertOptions(shard_size=7, **options))
    again()
    for image in (source / "train").rglob("*.jpg"):
        os.utime(image)  # as of a copy
    again()
    image = source / "train" / "cat" / "003.jpg"
    if how == "written to":
        image.write_bytes(altered_copy(image))
    else:
        (tmp_path / "new").write_bytes(altered_copy(image))
        os.utime(tmp_path / "new", (0, 0))
        (tmp_path / "new").rename(image)
    with pytest.raises(FileExistsError, match=f"made before {image} was written to .*choose another folder"):
        again()


def test_of_many_younger_images_some_are_read_and_that_is_said(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(source, tmp_path / "out", ConvertOptions(shard_size=7))
    for image in source.rglob("*.*"):
        os.utime(image)
    monkeypatch.setattr(altered, "MOST_READ", 5)
    convert(source, tmp_path / "out", ConvertOptions(shard_size=7), refuse)
    said = capsys.readouterr().err
    assert f"{tmp_path}/out/train: 29 images are in files younger than the split; 5 of them were read" in said
    assert (tmp_path / "out" / "train" / MANIFEST).exists()


def test_the_bytes_are_those_of_any_locale(images: Path, tmp_path: Path) -> None:
    for name, to in (("ant", "日本"), ("bee", "é"), ("cat", "cat")):
        shutil.copytree(images / "train" / name, tmp_path / "in" / to)
    convert(tmp_path / "in", tmp_path / "here", ConvertOptions(shard_size=7))
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = "-m", "imagefeed", "convert", tmp_path / "in", tmp_path / "there", "--shard-size", "7", "--workers", "2"
    done = ordinary(*command, **plain)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
