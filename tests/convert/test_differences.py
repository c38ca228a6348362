"""The refusal of a folder names the options that differ, whatever they are, and the source only where it is another."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagefeed.pipeline.convert import options as convert_options
from imagefeed.pipeline.convert.convert import convert, is_finished
from imagefeed.pipeline.convert.differences import differences
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.plan import SplitPlan, plan_split
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.subset import select

MADE: dict[str, Any] = {"shard_size": 7, "shuffle": 5}
COPIED: dict[str, Any] = {"resize": "none", "shard_size": 7}


@pytest.fixture(scope="module")
def source(images: Path) -> Source:
    return open_source(images)


@pytest.fixture(scope="module")
def out(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images twice: made/ with `MADE`, copied/ with `COPIED`."""
    folder = tmp_path_factory.mktemp("out")
    convert(images, folder / "made", ConvertOptions(**MADE))
    convert(images, folder / "copied", ConvertOptions(**COPIED))
    return folder


def plan(source: Source, folder: Path, options: ConvertOptions) -> SplitPlan:
    return plan_split(source, "train", LocalOutput(folder), options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quality": 80}, "with --quality 90 and not 80"),
        ({"resize": "short:300"}, "with --resize paper and not short:300"),
        ({"sampling": "4:4:4"}, "with --sampling 4:2:0 and not 4:4:4"),
        ({"huffman": "standard"}, "with --huffman shared and not standard"),
        ({"shard_size": 8}, "with --shard-size 7 and not 8"),
        ({"shard_size": 4096}, "with --shard-size 7 and not 4096"),
        ({"shuffle": "none"}, "with --shuffle 5 and not none"),
        ({"shuffle": 10**9}, "with --shuffle 5 and not 1000000000"),
        ({"shuffle": 0, "shard_size": 20}, "with --shard-size 7 and not 20, --shuffle 5 and not 0"),
        ({"quality": 1, "shuffle": 0}, "with --quality 90 and not 1, --shuffle 5 and not 0"),
        ({"format": "beton"}, "with --format tar"),
        ({"format": "beton", "raw": True}, "with JPEGs and not --raw, --format tar"),
    ],
    ids=str,
)
def test_each_option_that_differs_is_named(changes: dict[str, Any], said: str, source: Source, out: Path) -> None:
    asked = plan(source, out / "made", ConvertOptions(**{**MADE, **changes}))
    assert differences(asked, Manifest.load(out / "made" / "train")) == said
    with pytest.raises(FileExistsError, match="already holds a split made with .*: choose another folder, or remove"):
        is_finished(asked)


def test_statistics_of_copied_files_are_an_option(source: Source, out: Path) -> None:
    asked = plan(source, out / "copied", ConvertOptions(**COPIED, statistics=True))
    assert differences(asked, Manifest.load(out / "copied" / "train")) == "with no --statistics"


def test_another_codec_is_named(source: Source, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Manifest.load(out / "made" / "train")
    assert there.storage is not None
    monkeypatch.setattr(convert_options, "codec_name", lambda: "a newer one")
    asked = plan(source, out / "made", ConvertOptions(**MADE))
    assert differences(asked, there) == f"with another codec, {there.storage.codec} and not a newer one"


def test_another_source_is_said_to_be_one(source: Source, more_images: Path, out: Path) -> None:
    there, options = Manifest.load(out / "made" / "train"), ConvertOptions(**MADE)
    few = plan(select(source, limit=4), out / "made", options)
    assert differences(few, there) == "from 29 images, and now there are 4 (another source, --limit or --val-fraction)"
    others = plan(open_source(more_images), out / "made", options)
    assert differences(others, there).startswith("with other classes, 3, and now 3 (another source")
    renamed = source.splits["train"].set_column(0, "key", [[f"{number:04d}" for number in range(29)]])
    same_counts = plan(replace(source, splits={"train": renamed}), out / "made", options)
    assert differences(same_counts, there).startswith("from another source (images of other names")


def test_an_unknown_seed_is_no_other_source_for_sure(images: Path, source: Source, tmp_path: Path) -> None:
    convert(images, tmp_path, ConvertOptions(shuffle=10**9, limit=4))
    asked = plan(select(source, limit=4), tmp_path, ConvertOptions(shuffle=0))
    assert differences(asked, Manifest.load(tmp_path / "train")).endswith("or with another --shuffle or --shard-size")
