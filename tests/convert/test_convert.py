"""Conversion: every image once, the same bytes however it is run or killed, nothing unfinished under a final name."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.synthetic import synthetic_source
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.estimate import NUM_TRIED
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.write_shard import ShardResult, ShardTask, write_shard
from imagefeed.pipeline.dataset.manifest import MANIFEST, Manifest
from imagefeed.pipeline.dataset.statistics import Moments, statistics
from imagefeed.pipeline.dataset.tables import read_mean_image, read_samples
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.pillow import load_square
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.runtime.executors import processes, run_here
from imagefeed.pipeline.sources.open_source import open_source
from tests.conftest import encoded, read_range

OPTIONS = ConvertOptions(format="both", shard_size=7)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_the_shards_hold_every_usable_image_once_as_the_slow_twin_makes_it(images: Path, shards: Path) -> None:
    for format in ("tar", "beton"):
        for split, num_good in (("train", 28), ("val", 9)):
            folder = shards / format / split
            manifest, source = Manifest.load(folder), open_source(images).splits[split].to_pylist()
            samples = read_samples(folder).to_pylist()
            assert manifest.num_samples == len(samples) == sum(s.num_samples for s in manifest.shards) == num_good
            assert sorted(row["id"] for row in samples) == [row["id"] for row in samples]
            for row in samples:
                origin = source[row["id"]]
                assert (row["key"], row["label"]) == (origin["key"], origin["label"])
                data = read_range(images, origin["file"], origin["offset"], origin["size"])
                shard = folder / manifest.shards[row["shard"]].name
                payload = shard.read_bytes()[row["offset"] : row["offset"] + row["size"]]
                assert payload == JpegCodec().encode(load_square(data), Coding(90)).tobytes()
                assert row["xxh3"] == xxh3_64(np.frombuffer(payload, np.uint8))


def test_statistics_are_those_of_the_stored_images(shards: Path) -> None:
    folder = shards / "tar" / "train"
    manifest, pixels, moments = Manifest.load(folder), [], Moments()
    for row in read_samples(folder).to_pylist():
        payload = read_range(folder, manifest.shards[row["shard"]].name, row["offset"], row["size"])
        pixels.append(np.asarray(Image.open(io.BytesIO(payload))))
        moments.add(pixels[-1])
    assert manifest.statistics == statistics(moments)
    np.testing.assert_allclose(read_mean_image(folder), np.mean(pixels, axis=0), rtol=1e-12)


def test_hashes_and_sizes_in_the_manifest_are_right(shards: Path) -> None:
    for folder in (shards / "tar" / "train", shards / "beton" / "val"):
        manifest = Manifest.load(folder)
        for shard in manifest.shards:
            assert shard.num_bytes == (folder / shard.name).stat().st_size
            assert shard.sha256 == file_sha256(folder / shard.name)
        assert {name: file_sha256(folder / name) for name in manifest.files} == manifest.files
        expected = {MANIFEST, *manifest.files, *(shard.name for shard in manifest.shards)}
        assert {path.name for path in folder.iterdir()} == expected


def test_a_bad_image_is_in_quarantine_with_its_place_and_the_reason(images: Path, shards: Path) -> None:
    (row,) = pq.read_table(shards / "tar" / "train" / "quarantine.parquet").to_pylist()
    assert (row["key"], row["file"], row["offset"]) == ("bee/004", "train/bee/004.jpg", 0)
    assert "truncated" in row["reason"]
    assert Manifest.load(shards / "tar" / "train").num_quarantined == 1


def test_tar_and_beton_hold_the_same_payloads(shards: Path) -> None:
    for split in ("train", "val"):
        tar, beton = (read_samples(shards / format / split).drop_columns(["offset"]) for format in ("tar", "beton"))
        assert tar.equals(beton)


def backwards(make, tasks: Iterable) -> Iterator:
    """A runner whose results come in another order."""
    return iter([make(task) for task in reversed(list(tasks))])


@pytest.mark.parametrize("run", [processes(2), backwards], ids=["two processes", "backwards"])
def test_any_runner_gives_the_same_bytes(run, images: Path, shards: Path, tmp_path: Path) -> None:
    convert(images, tmp_path, OPTIONS, run)
    assert contents(tmp_path) == contents(shards)


def test_a_finished_conversion_is_left_alone(images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path, OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    manifests = convert(images, tmp_path, OPTIONS, run=lambda make, tasks: iter([make(task) for task in tasks]))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"} == before
    assert len(manifests) == 4


def test_other_options_or_another_source_do_not_overwrite(images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path, ConvertOptions(shard_size=7))
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="already holds a split made with --shard-size 7 and not 8: choose"):
        convert(images, tmp_path, ConvertOptions(shard_size=8))
    with pytest.raises(FileExistsError, match="choose another folder"):
        convert(images / "train", tmp_path, ConvertOptions(shard_size=7))
    assert contents(tmp_path) == before


def test_an_interrupted_conversion_keeps_its_shards_and_ends_with_the_same_bytes(
    images: Path, shards: Path, tmp_path: Path
) -> None:
    made = []

    def fails_at_the_third(make, tasks: Iterable) -> Iterator:
        for number, task in enumerate(tasks):
            if number == 2:
                raise ConnectionError("the machine is gone")
            yield make(task)

    def counts(make, tasks: Iterable) -> Iterator:
        for task in tasks:
            made.append(make(task))
            yield made[-1]

    with pytest.raises(ConnectionError):
        convert(images, tmp_path, OPTIONS, fails_at_the_third)
    assert not list(tmp_path.rglob(MANIFEST)) and len(list(tmp_path.rglob("shard-*.tar"))) == 2
    convert(images, tmp_path, OPTIONS, counts)
    assert [result.reused for result in made].count(True) == 2
    assert contents(tmp_path) == contents(shards)


def test_a_shard_damaged_after_an_interruption_is_made_again(images: Path, shards: Path, tmp_path: Path) -> None:
    def stops_after_one(make, tasks: Iterable) -> Iterator:
        yield make(next(iter(tasks)))
        raise ConnectionError

    with pytest.raises(ConnectionError):
        convert(images, tmp_path, OPTIONS, stops_after_one)
    (made,) = tmp_path.rglob("shard-*.tar")
    made.write_bytes(made.read_bytes()[:-1])
    convert(images, tmp_path, OPTIONS)
    assert contents(tmp_path) == contents(shards)


def test_a_shard_of_a_file_that_was_altered_after_an_interruption_is_made_again(images: Path, tmp_path: Path) -> None:
    """Its name and size are the old ones; the shards of other files are kept."""

    def stops_after_three(make, tasks: Iterable) -> Iterator:
        for _, task in zip(range(3), tasks, strict=False):
            yield make(task)
        raise ConnectionError

    def counts(make, tasks: Iterable) -> Iterator:
        for task in tasks:
            made.append(make(task))
            yield made[-1]

    source = Path(shutil.copytree(images, tmp_path / "source"))
    made: list[ShardResult] = []
    options = ConvertOptions(shard_size=7, resize="none", statistics=True)
    with pytest.raises(ConnectionError):
        convert(source, tmp_path / "out", options, stops_after_three)
    key = pq.read_table(next((tmp_path / "out" / "train").rglob("shard-*.parquet")))["key"][0].as_py()
    file = next((source / "train").glob(f"{key}.*"))
    file.write_bytes(file.read_bytes()[:-2] + b"\xff\xd9")  # the same bytes at another time will do
    convert(source, tmp_path / "out", options, counts)
    assert [result.reused for result in made].count(True) == 2
    convert(source, tmp_path / "afresh", options)
    assert contents(tmp_path / "out") == contents(tmp_path / "afresh")


COMMAND = [sys.executable, "-m", "imagefeed", "convert"]


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_of_a_shard_and_run_again(
    images: Path, shards: Path, tmp_path: Path, workers: int
) -> None:
    command = [
        *COMMAND,
        str(images),
        str(tmp_path),
        "--format",
        "both",
        "--shard-size",
        "7",
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob(".tmp-*shard*")) and time.monotonic() < deadline:
        time.sleep(0.0005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.rglob(".tmp-*")), "it was not killed in the middle of a shard"
    assert not list(tmp_path.rglob(MANIFEST))
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    assert contents(tmp_path) == contents(shards)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_nothing_broken_and_no_process(images: Path, tmp_path: Path, workers: int) -> None:
    command = [*COMMAND, str(images), str(tmp_path), "--shard-size", "1", "--workers", str(workers)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("shard-*.tar")) and time.monotonic() < deadline:
        time.sleep(0.0005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on where this one stopped" in errors, errors
    # Python itself prints one where a signal falls into a finaliser.
    assert errors.count("Traceback") == errors.count("Exception ignored in"), errors
    assert not list(tmp_path.rglob(".tmp-*")) and not list(tmp_path.rglob(MANIFEST))
    with pytest.raises(ProcessLookupError):  # Python's own resource tracker takes a moment longer
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.01)


def test_a_killed_worker_is_an_error_and_not_a_wait(images: Path, tmp_path: Path) -> None:
    from concurrent.futures.process import BrokenProcessPool

    with pytest.raises(BrokenProcessPool):
        convert(images, tmp_path, OPTIONS, lambda make, tasks: processes(2)(die, tasks))
    assert not list(tmp_path.rglob(MANIFEST))


def die(task: ShardTask) -> ShardResult:
    """What a worker does that runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_two_conversions_into_one_folder_are_refused(images: Path, tmp_path: Path) -> None:
    with (
        LocalOutput(tmp_path).lock(),
        pytest.raises(RuntimeError, match=f"another conversion is writing to {tmp_path}"),
    ):
        convert(images, tmp_path, OPTIONS)


def test_too_little_disk_is_said_before_anything_is_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match="GB free and the shards may take .* make room or choose another folder"):
        convert(images, tmp_path, OPTIONS)
    assert not contents(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_fills_up_names_the_folder_and_leaves_nothing_half_written(tmp_path: Path, images: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        folder = tmp_path / "noise" / "a"
        folder.mkdir(parents=True)
        for i in range(2 * NUM_TRIED):  # half of them noise, and the estimate tries the others
            noise = np.random.default_rng(i).integers(0, 256 if i % 2 else 1, (256, 256, 3), dtype=np.uint8)
            (folder / f"{i:04d}.png").write_bytes(encoded(noise, "PNG"))
        with pytest.raises(RuntimeError, match=f"{small}.*the disk is full; make room and run again"):
            convert(tmp_path / "noise", small, ConvertOptions(shard_size=100, one_class=True))
        assert not list(small.rglob("shard-*")) and not list(small.rglob(MANIFEST))
    finally:
        subprocess.run(["umount", small], check=True)


def test_an_unusable_split_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "x.jpg").write_bytes(b"not an image")
    with pytest.raises(ValueError, match="not one image could be used; the first: no image format"):
        convert(tmp_path / "in", tmp_path / "out", replace(OPTIONS, one_class=True))
    assert not list((tmp_path / "out").rglob(MANIFEST))


def test_raw_pixels_are_stored_as_they_are(images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path, ConvertOptions(format="beton", raw=True, shard_size=100))
    folder = tmp_path / "val"
    data, source = (folder / "shard-00000.beton").read_bytes(), open_source(images).splits["val"].to_pylist()
    for row in read_samples(folder).to_pylist():
        stored = np.frombuffer(data, np.uint8, row["size"], row["offset"]).reshape(256, 256, 3)
        np.testing.assert_array_equal(stored, load_square((images / source[row["id"]]["file"]).read_bytes()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 0}, "choose 1 to 100"),
        ({"shard_size": 0}, "at least 1 image"),
        ({"raw": True, "format": "tar"}, "betons only"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvertOptions(**options)


def test_the_digest_follows_what_shapes_the_bytes(images: Path, tmp_path: Path) -> None:
    digests = {
        name: convert(images, tmp_path / name, options)[tmp_path / name / "val"].digest
        for name, options in {
            "plain": ConvertOptions(),
            "quality": ConvertOptions(quality=80),
            "sampling": ConvertOptions(sampling="4:4:4"),
            "codes": ConvertOptions(huffman="standard"),
            "order": ConvertOptions(shuffle="none"),
            "beton": ConvertOptions(format="beton"),
        }.items()
    }
    assert digests["plain"] == digests["beton"]  # the same samples in another container
    assert len(set(digests.values())) == 5


def test_a_task_is_all_that_a_worker_needs(images: Path, tmp_path: Path) -> None:
    """Pickled and sent elsewhere, a task makes the same shard there."""
    import pickle

    from imagefeed.pipeline.convert.plan import plan_split

    split = plan_split(open_source(images), "train", LocalOutput(tmp_path / "a"), ConvertOptions(shard_size=7))
    here = next(split.tasks())
    there = pickle.loads(pickle.dumps(here))  # noqa: S301 - our own bytes
    there = replace(there, out={"tar": LocalOutput(tmp_path / "b")})
    for task in (here, there):
        list(run_here(write_shard, [task]))
    first, second = (json.loads(next(p.rglob("*.json")).read_text()) for p in (tmp_path / "a", tmp_path / "b"))
    assert first == second and len(pickle.dumps(here)) < 20_000


def test_the_driver_holds_the_table_and_no_task(tmp_path: Path) -> None:
    """A task is some hundred kilobytes however large the table is, and gone when the next one is made."""
    import pickle

    import pyarrow as pa

    from imagefeed.pipeline.convert.plan import plan_split

    source, sizes = synthetic_source(300_000), []
    tasks = plan_split(source, "train", LocalOutput(tmp_path), ConvertOptions()).tasks()
    next(tasks)
    before = pa.total_allocated_bytes()
    for task in tasks:
        sizes.append(len(pickle.dumps(task, protocol=5)))
        assert pa.total_allocated_bytes() - before < 2_000_000
    assert len(sizes) == 73 and max(sizes) < 600_000


def test_the_source_is_said_before_any_work(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object) -> Iterator[Any]:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        convert(images, tmp_path / "out", ConvertOptions(), stop)
    assert capsys.readouterr().err.startswith(
        f"{images} (folder): train 29 and val 9 images of 3 classes (ant, bee, cat)"
    )
