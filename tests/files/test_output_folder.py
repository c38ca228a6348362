"""Conversion into an object store, a real S3 server on loopback: the same bytes, one writer, the manifest last."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.dry_run import describe, estimate
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.write_shard import ShardResult
from imagefeed.pipeline.dataset.manifest import MANIFEST
from imagefeed.pipeline.files import lease
from imagefeed.pipeline.files.lease import highest
from imagefeed.pipeline.files.marks import LOCK
from imagefeed.pipeline.files.object_store import ObjectStore, StorageOptions
from imagefeed.pipeline.files.output_folder import output_folder_at
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.runtime.executors import processes
from tests.convert.test_convert import COMMAND, contents
from tests.support.servers import s3_bucket, use_s3

OPTIONS = ConvertOptions(format="both", shard_size=7)
BUCKET = "made"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    with s3_bucket(BUCKET, tmp_path_factory.mktemp("nothing")) as address:
        yield address


@pytest.fixture
def out(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A folder of its own for each test, which watches others for a second only."""
    use_s3(monkeypatch, s3)
    monkeypatch.setattr(lease, "BEAT", 0.2)
    return f"s3://{BUCKET}/{request.node.name}"


def names(out: str) -> list[str]:
    """Of every object below a URL."""
    system, root = fsspec.core.url_to_fs(out, use_listings_cache=False)
    return [path.removeprefix(f"{root}/") for path in system.find(root)]


def uploaded(out: str) -> dict[str, bytes]:
    """Every object below a URL, as `contents` has the files of a folder."""
    return {name: fsspec.filesystem("s3").cat_file(f"{out}/{name}") for name in sorted(names(out))}


def storage(out: str) -> ObjectStore:
    return ObjectStore(out, StorageOptions())


def test_the_bytes_are_those_of_a_folder_and_nothing_else_stays(images: Path, shards: Path, out: str) -> None:
    made = convert(images, out, OPTIONS, processes(2))
    assert uploaded(out) == contents(shards)
    assert list(made) == [f"{out}/{name}" for name in ("tar/train", "beton/train", "tar/val", "beton/val")]
    there, here = (open_dataset(place).loader(batch_size=4) for place in (f"{out}/tar/val", shards / "tar" / "val"))
    for first, second in zip(there, here, strict=True):
        np.testing.assert_array_equal(first.images, second.images)


def test_a_finished_conversion_is_left_alone_and_another_does_not_overwrite(images: Path, out: str) -> None:
    options = ConvertOptions(shard_size=7, limit=10)
    convert(images, out, options)
    system, _ = fsspec.core.url_to_fs(out, use_listings_cache=False)
    before = system.find(out, detail=True)
    convert(images, out, options)
    with pytest.raises(FileExistsError, match=f"{out}/train already holds a split made with --shard-size 7 and not 8"):
        convert(images, out, ConvertOptions(shard_size=8, limit=10))
    assert system.find(out, detail=True) == before


def test_an_interrupted_conversion_goes_on(images: Path, shards: Path, out: str) -> None:
    made: list[ShardResult] = []

    def fails_at_the_third(make: Any, tasks: Iterable) -> Iterator:
        for number, task in enumerate(tasks):
            if number == 2:
                raise ConnectionError("the machine is gone")
            yield make(task)

    def counts(make: Any, tasks: Iterable) -> Iterator:
        for task in tasks:
            made.append(make(task))
            yield made[-1]

    with pytest.raises(ConnectionError, match="the machine is gone"):
        convert(images, out, OPTIONS, fails_at_the_third)
    assert not [name for name in names(out) if name.endswith(MANIFEST) or ".lock" in name]
    convert(images, out, OPTIONS, counts)
    assert [result.reused for result in made].count(True) == 2
    assert uploaded(out) == contents(shards)


def test_killed_and_run_again(images: Path, shards: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was killed cannot let go of the folder: whoever comes next watches it for a while."""
    command = [*COMMAND, str(images), out, "--format", "both", "--shard-size", "7", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any("shard-" in name for name in names(out)) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert highest(storage(out).below(LOCK)) is not None and not any(name.endswith(MANIFEST) for name in names(out))
    convert(images, out, OPTIONS)
    assert "for a sign of life" in capsys.readouterr().err
    assert uploaded(out) == contents(shards)


def test_a_second_conversion_is_refused(images: Path, out: str) -> None:
    with (
        output_folder_at(out).lock() as check,
        pytest.raises(RuntimeError, match=f"another conversion is writing to {out}"),
    ):
        convert(images, out, OPTIONS)
    check()
    assert not names(out)


def test_of_many_that_find_a_dead_holder_one_gets_the_folder(out: str) -> None:
    assert storage(out).create(b"{}", ".lock/6")
    held, refused = [], []

    def tries() -> None:
        try:
            with output_folder_at(out).lock() as check:
                time.sleep(1.5)  # longer than the others watch
                check()
                held.append(True)
        except RuntimeError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=tries) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1 and len(refused) == 3, refused
    assert not names(out)


def test_who_has_lost_the_folder_writes_no_manifest(images: Path, out: str) -> None:
    """As one whose machine slept, while another took over."""

    def sleeps(make: Any, tasks: Iterable) -> Iterator:
        yield from map(make, tasks)
        assert storage(out).create(b"{}", ".lock/2")
        time.sleep(0.5)

    with pytest.raises(RuntimeError, match=f"another process has taken {out}"):
        convert(images, out, ConvertOptions(shard_size=7, limit=10), sleeps)
    assert not [name for name in names(out) if name.endswith(MANIFEST)]
    assert ".lock/2" in names(out)  # it is the other's


def test_a_large_file_goes_up_in_parts(out: str, tmp_path: Path) -> None:
    with output_folder_at(out).new("shard") as path, open(path, "wb") as file:
        file.truncate(110 * 2**20)
    system, root = fsspec.core.url_to_fs(out)
    assert int(system.info(f"{root}/shard")["ETag"].strip('"').partition("-")[2]) > 1  # how S3 names what came in parts
    assert output_folder_at(out).size("shard") == 110 * 2**20


def test_a_file_that_fails_half_way_is_not_uploaded(out: str) -> None:
    with pytest.raises(KeyError), output_folder_at(out).new("shard") as path:
        path.write_bytes(b"half")
        raise KeyError
    assert not names(out)


def test_a_dry_run_writes_nothing_there(images: Path, out: str) -> None:
    said = describe(estimate(images, out, ConvertOptions()), 2)
    assert f"{out}/train: 29 images" in said and "free" not in said
    assert not names(out)


@pytest.mark.parametrize("place", ["http://127.0.0.1/out", "sftp://host/out", "memory://out"])
def test_only_object_stores_are_written_to(place: str, images: Path) -> None:
    with pytest.raises(ValueError, match=f"{place}: .*would show files while they are being written"):
        convert(images, place, OPTIONS)


def test_a_bucket_that_is_not_there_is_named(images: Path, out: str) -> None:
    with pytest.raises(FileNotFoundError, match="s3://absent/x/.*check the URL"):
        convert(images, "s3://absent/x", OPTIONS)


def test_the_ray_job_writes_there_too(images: Path, shards: Path, out: str) -> None:
    job = str(Path(__file__).resolve().parents[2] / "jobs" / "shard.py")
    command = [sys.executable, job, "--source", str(images), "--out", out, "--format", "both", "--shard-size", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert f"{out}/beton/train: 28 images of 3 classes in 5 beton shards" in done.stdout
    assert uploaded(out) == contents(shards)
