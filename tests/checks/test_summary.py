"""The numbers of a dataset are those of its manifest and its table."""

from pathlib import Path

from imagefeed.pipeline.checks.summary import numbers
from imagefeed.pipeline.loader.dataset import open_dataset


def test_the_numbers_are_those_of_the_table(shards: Path) -> None:
    lines = dict(numbers(open_dataset(shards / "tar" / "train")))
    assert lines["images"] == "28, and 1 in quarantine"
    assert lines["classes"] == "3, of 8 to 12 images"
    assert lines["kinds"] == "28 JPEG"
    assert lines["height, pixels"] == lines["width, pixels"] == "256 / 256 / 256 (least, median, most)"
