"""The command as a user types it."""

import subprocess
import sys
from pathlib import Path

import pytest

from imagefeed.pipeline.dataset.manifest import Manifest


def imagefeed(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "imagefeed", *map(str, arguments)]
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
    assert failed.stderr == f"error: {tmp_path}/nowhere: no such file or folder\n"


SWALLOWED = """
import os, signal
from imagefeed.pipeline.runtime.command import run_command
from imagefeed.pipeline.runtime.progress import track

class Swallows:
    def __del__(self):  # Python prints what is raised here, and goes on
        os.kill(os.getpid(), signal.SIGINT)

def work():
    for number in range(100):
        if number == 1:
            Swallows()
        print(number, flush=True)
        yield 1

def working():
    sum(track(work(), 100, "working", "things"))

def failing():
    try:
        working()
    except KeyboardInterrupt:
        raise SystemError("what a library made of it")

run_command({command})
"""


@pytest.mark.parametrize("command", ["working", "failing"])
def test_an_interrupt_within_a_finaliser_is_not_lost(command: str) -> None:
    script = SWALLOWED.replace("{command}", command)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130 and "Exception ignored in" in ended.stderr, ended.stderr
    assert ended.stdout.split() == ["0", "1"]
