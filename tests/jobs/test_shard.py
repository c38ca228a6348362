"""The Ray job, on a real Ray: the same bytes as the plain loop, also after its task and then its driver were killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.convert.test_convert import contents

ROOT = Path(__file__).resolve().parents[2]


def command(images: Path, out: Path, *more: str) -> list[str]:
    job = str(ROOT / "jobs" / "shard.py")
    return [
        sys.executable,
        job,
        "--source",
        str(images),
        "--out",
        str(out),
        "--format",
        "both",
        "--shard-size",
        "7",
        *more,
    ]


def worker_of(driver: subprocess.Popen, out: Path) -> int:
    """The process id of a Ray worker of this job that has begun a shard."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for stray in out.rglob(".tmp-*shard*"):
            for link in Path("/proc").glob("[0-9]*/fd/*"):
                try:
                    if os.readlink(link) == str(stray):
                        return int(link.parts[2])
                except OSError:  # the process, or its file, is gone already
                    continue
        assert driver.poll() is None, "the job ended before it could be disturbed"
    raise AssertionError("no worker began a shard in 90 s")


def test_a_killed_task_is_run_again(images: Path, shards: Path, tmp_path: Path) -> None:
    driver = subprocess.Popen(command(images, tmp_path), start_new_session=True, stdout=subprocess.PIPE, text=True)
    os.kill(worker_of(driver, tmp_path), signal.SIGKILL)
    said, _ = driver.communicate(timeout=180)
    assert driver.returncode == 0
    assert "28 images of 3 classes in 5 beton shards" in said
    assert contents(tmp_path) == contents(shards)


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(images: Path, shards: Path, tmp_path: Path) -> None:
    driver = subprocess.Popen(command(images, tmp_path), start_new_session=True, stderr=subprocess.PIPE)
    worker_of(driver, tmp_path)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    assert not list(tmp_path.rglob("manifest.json"))
    result = subprocess.run(command(images, tmp_path), capture_output=True, text=True, timeout=180)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path) == contents(shards)


def test_bad_input_ends_the_job_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = subprocess.run(command(tmp_path / "empty", tmp_path / "out"), capture_output=True, text=True, timeout=180)
    assert result.returncode == 1
    assert "error: " in result.stderr and "holds nothing to convert" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--quality=0", "choose 1 to 100"),
        ("--format=zip", "invalid choice"),
        ("--shard-sice=7", "--shard-size"),
    ],
)
def test_bad_options_are_refused_before_ray_starts(images: Path, tmp_path: Path, option: str, message: str) -> None:
    result = subprocess.run(command(images, tmp_path, option), capture_output=True, text=True, timeout=60)
    assert result.returncode != 0 and message in result.stderr
    assert not list(tmp_path.iterdir())
