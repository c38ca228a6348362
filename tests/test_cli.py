"""The command as a user types it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.manifest import Manifest


def imagefeed(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_sample_then_convert(tmp_path: Path) -> None:
    drawn = imagefeed(
        "sample", tmp_path / "in", "--num-classes", "3", "--train-images-per-class", "8", "--val-images-per-class", "2"
    )
    assert drawn.returncode == 0, drawn.stderr
    made = imagefeed("convert", tmp_path / "in", tmp_path / "out", "--format", "beton", "--workers", "2")
    assert made.returncode == 0, made.stderr
    assert Manifest.load(tmp_path / "out" / "val").num_samples == 6
    assert f"{tmp_path}/out/train: 23 images of 3 classes in 1 beton shards" in made.stdout
    assert "1 could not be used" in made.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["sample", "--help"]])
def test_help_names_every_argument(arguments: list[str]) -> None:
    shown = imagefeed(*arguments)
    assert shown.returncode == 0
    for word in {"--help": ["convert", "sample"], "convert": ["SOURCE", "OUT", "--quality"], "sample": ["DIR"]}[
        arguments[0]
    ]:
        assert word in shown.stdout


def test_an_error_is_one_line(tmp_path: Path) -> None:
    failed = imagefeed("convert", tmp_path / "nowhere", tmp_path / "out")
    assert failed.returncode == 1
    assert failed.stderr == f"error: {tmp_path}/nowhere: no such folder\n"
