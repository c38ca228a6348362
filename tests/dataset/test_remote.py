"""A dataset elsewhere gives the batches that it gives here, or an error that names the shard: the server may do what
it will."""

import multiprocessing
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.files.cache import GB, CacheOptions
from imagefeed.pipeline.files.mapped_file import page_to_ask
from imagefeed.pipeline.files.object_store import StorageOptions
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.options import LoaderOptions, order_of, residency_of
from tests.dataset.test_split import edit_manifest
from tests.loader.test_loader import ids, rows
from tests.support.servers import FileServer, always, at_first, file_server, s3_bucket, use_s3
from tests.support.threads import SOON

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("leaves_no_thread")
FAST = StorageOptions(timeout=0.5, attempts=3, pause=0.01)
CHEAP: dict[str, Any] = {"dtype": "uint8", "layout": "NHWC", "num_threads": 2, "batch_size": 2, "prefetch": 1}


@pytest.fixture(scope="module")
def split(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 training images in 15 shards."""
    out = tmp_path_factory.mktemp("remote")
    convert(images, out, ConvertOptions(shard_size=2))
    return out / "train"


@pytest.fixture
def server(split: Path) -> Iterator[FileServer]:
    with file_server(split.parent) as server:
        yield server


def opened(server: FileServer, folder: Path, num_bytes: float = GB) -> Dataset:
    cache = CacheOptions(folder=folder, gigabytes=num_bytes / GB, patience=5)
    return open_dataset(f"{server.url}/train", cache=cache, storage=FAST)


def shard_requests(server: FileServer) -> dict[str, int]:
    return {name: number for name, number in server.requests.items() if name.startswith("shard")}


def kept(folder: Path) -> int:
    """Bytes of the files in a folder, at one moment: none of them went while the others were looked at."""
    while True:
        sizes = {}
        for path in [each for each in folder.iterdir() if each.is_file()]:
            with suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
        if all(path.exists() for path in sizes):
            return sum(sizes.values())


def peak(split: Path, num_epochs: int = 2, **options: Any) -> int:
    """The least cache, bytes, for the first epochs of a loader."""
    dataset, asked = open_dataset(split), LoaderOptions(**options)
    orders = (order_of(dataset, asked, asked.seed, epoch) for epoch in range(num_epochs))
    return max(residency_of(dataset, asked, order).peak() for order in orders)


ONCE = {f"shard-{number:05d}.tar": 1 for number in range(15)}
BY_SHARDS: dict[str, Any] = {**CHEAP, "shuffle": "shards", "shuffle_shards": 2, "seed": 7}


@pytest.mark.parametrize("shuffle", [True, False, "shards"])
def test_the_batches_are_those_of_the_local_dataset(
    server: FileServer, split: Path, tmp_path: Path, shuffle: Any
) -> None:
    options = {**CHEAP, "shuffle": shuffle, "seed": 5} | ({"shuffle_shards": 3} if shuffle == "shards" else {})
    here, there = open_dataset(split).loader(**options), opened(server, tmp_path).loader(**options)
    for _ in range(2):
        assert rows(there) == rows(here)
    assert shard_requests(server) == ONCE
    assert kept(tmp_path) == sum(path.stat().st_size for path in split.glob("shard*"))


def test_a_cache_smaller_than_the_data_gives_the_same_and_fetches_once_an_epoch(
    server: FileServer, split: Path, tmp_path: Path
) -> None:
    least = peak(split, **BY_SHARDS)
    assert least < 0.8 * sum(path.stat().st_size for path in split.glob("shard*"))
    here, there = open_dataset(split).loader(**BY_SHARDS), opened(server, tmp_path, least).loader(**BY_SHARDS)
    for _ in range(2):
        found = []
        for batch in there:
            found += rows([batch])
            assert kept(tmp_path) <= least
        assert found == rows(here)
        assert all(number == 1 for number in shard_requests(server).values())
        server.requests.clear()


def test_a_cache_that_is_too_small_is_refused_with_the_least_size(
    server: FileServer, split: Path, tmp_path: Path
) -> None:
    least = peak(split, num_epochs=1, **BY_SHARDS)  # a loader looks at its first epoch when it is made
    with pytest.raises(ValueError, match=f"too small for {server.url}/train .* needs {least / GB:.3g} GB at once"):
        opened(server, tmp_path, least * 0.9).loader(**BY_SHARDS)
    with pytest.raises(ValueError, match="or choose shuffle='shards'"):
        opened(server, tmp_path, least).loader(**CHEAP, seed=7, shuffle=True)


def test_shards_are_mixed_by_default_where_the_cache_is_smaller(
    server: FileServer, split: Path, tmp_path: Path
) -> None:
    by_default = {**CHEAP, "shuffle_shards": 2, "seed": 7}
    large, small = opened(server, tmp_path), opened(server, tmp_path, peak(split, **BY_SHARDS))
    assert ids(large.loader(**by_default)) == ids(open_dataset(split).loader(**CHEAP, seed=7, shuffle=True))
    assert ids(small.loader(**by_default)) == ids(open_dataset(split).loader(**BY_SHARDS))
    with pytest.raises(ValueError, match="too small"):  # in the order of ids any shard may come next
        small.loader(**{**by_default, "recipe": "eval"})


def test_it_goes_on_from_any_place_on_another_world_size(server: FileServer, split: Path, tmp_path: Path) -> None:
    dataset = opened(server, tmp_path, peak(split, **BY_SHARDS, rank=0, world_size=2))
    first = dataset.loader(**BY_SHARDS)
    batches = iter(first)
    before = ids([next(batches) for _ in range(5)])
    batches.close()  # its shards may go: the cache has room for one loader
    after = []
    for rank in range(2):
        loader = dataset.loader(**BY_SHARDS, rank=rank, world_size=2)
        loader.load_state_dict(first.state_dict())
        after += ids(loader)
    assert sorted(before + after) == sorted(ids(open_dataset(split).loader(**BY_SHARDS)))


@pytest.mark.parametrize("fault", ["drop", "stall", "short", "wrong", "503", "whole"])
def test_faults_that_pass_change_nothing(server: FileServer, split: Path, tmp_path: Path, fault: str) -> None:
    server.fault = at_first(fault, 1)
    assert rows(opened(server, tmp_path).loader(**BY_SHARDS)) == rows(open_dataset(split).loader(**BY_SHARDS))


@pytest.mark.parametrize("fault", ["drop", "stall", "short", "wrong", "503", "404", "403"])
def test_faults_that_stay_are_errors_that_name_the_shard(server: FileServer, tmp_path: Path, fault: str) -> None:
    server.fault = always(fault)
    loader = opened(server, tmp_path).loader(**BY_SHARDS)
    began = time.monotonic()
    with pytest.raises((OSError, ValueError), match=f"{server.url}/train/shard-00001.tar"):
        list(loader)
    assert time.monotonic() - began < FAST.patience + 3


@pytest.mark.parametrize("file", ["manifest.json", "samples.parquet", "mean_image.npy"])
@pytest.mark.parametrize("fault", ["drop", "wrong", "404"])
def test_tables_that_do_not_come_are_errors_when_it_is_opened(
    server: FileServer, tmp_path: Path, file: str, fault: str
) -> None:
    server.fault = always(fault, file)
    with pytest.raises((OSError, ValueError), match=f"{server.url}/train/{file}"):
        opened(server, tmp_path)
    server.fault = at_first("drop", 1, file)
    assert len(opened(server, tmp_path)) == 28


def test_a_dataset_that_was_changed_is_noticed(split: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    copy = shutil.copytree(split, tmp_path / "files" / "train")
    with file_server(tmp_path / "files") as server:
        dataset = opened(server, tmp_path / "cache")
        assert len(rows(dataset.loader(**BY_SHARDS))) == 28
        again = opened(server, tmp_path / "cache")  # now from the cache
        assert again.path == dataset.path and again.columns.id.tolist() == dataset.columns.id.tolist()
        assert server.requests["samples.parquet"] == 1 and server.requests["manifest.json"] == 2
        edit_manifest(copy, lambda manifest: manifest["classes"][0].update(words="changed"))
        changed = opened(server, tmp_path / "cache")
        assert changed.classes[0].words == "changed" and changed.path != dataset.path


def test_a_cached_shard_that_was_altered_is_an_error_with_the_cure(
    server: FileServer, split: Path, tmp_path: Path
) -> None:
    dataset = opened(server, tmp_path)
    rows(dataset.loader(**BY_SHARDS))
    shard = dataset.manifest.shards[3]
    path = tmp_path / str(shard.sha256)
    altered = bytearray(path.read_bytes())
    altered[700] ^= 1
    path.write_bytes(altered)
    with pytest.raises(ValueError, match=f"{shard.name} .here {path}: delete it .*: sample"):
        list(dataset.loader(**BY_SHARDS))
    path.unlink()
    assert rows(dataset.loader(**BY_SHARDS)) == rows(open_dataset(split).loader(**BY_SHARDS))


def test_a_validation_split_finds_the_training_split_beside_it(server: FileServer, split: Path, tmp_path: Path) -> None:
    cache = CacheOptions(folder=tmp_path)
    val = open_dataset(f"{server.url}/val/", cache=cache, storage=FAST)
    options: dict[str, Any] = {"recipe": "eval", "batch_size": 4}
    assert rows(val.loader(**options)) == rows(open_dataset(split.parent / "val").loader(**options))


def test_a_dataset_crosses_to_another_process(server: FileServer, tmp_path: Path) -> None:
    dataset = opened(server, tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert copy.remote == dataset.remote and rows(copy.loader(**BY_SHARDS)) == rows(dataset.loader(**BY_SHARDS))


def test_a_file_url_is_a_path(split: Path) -> None:
    assert open_dataset(f"file://{split}").path == split


# Processes and ways of leaving


def rank(number: int, url: str, folder: Path, num_bytes: int, barrier: Any, found: Any) -> None:
    """One rank of two, which keep step as training does."""
    cache = CacheOptions(folder=folder, gigabytes=num_bytes / GB, patience=10)
    loader = open_dataset(url, cache=cache, storage=FAST).loader(**BY_SHARDS, rank=number, world_size=2)
    for _ in range(2):
        seen = []
        for batch in loader:
            seen += ids([batch])
            barrier.wait(3 * SOON)
        found.put(seen)


def test_two_ranks_of_a_machine_fetch_each_shard_once_an_epoch(server: FileServer, split: Path, tmp_path: Path) -> None:
    least = peak(split, **BY_SHARDS, rank=0, world_size=2)
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=rank, args=(number, f"{server.url}/train", tmp_path, least, barrier, found))
        for number in range(2)
    ]
    for process in processes:
        process.start()
    seen = [found.get(timeout=6 * SOON) for _ in range(4)]
    for process in processes:
        process.join(SOON)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(chain.from_iterable(seen)) == sorted(2 * list(open_dataset(split).columns.id))
    assert all(number <= 2 for number in shard_requests(server).values())
    assert server.requests["samples.parquet"] <= 2


def test_leaving_early_does_not_wait_for_a_stalled_server(server: FileServer, tmp_path: Path) -> None:
    server.fault = always("stall")
    storage = StorageOptions(timeout=1, attempts=100)
    dataset = open_dataset(f"{server.url}/train", cache=CacheOptions(folder=tmp_path), storage=storage)
    began = time.monotonic()
    epoch = iter(dataset.loader(**BY_SHARDS))
    while "shard-00001.tar" not in server.requests:
        time.sleep(0.01)
    epoch.close()
    del epoch
    assert time.monotonic() - began < 1
    with pytest.raises(ConnectionError):  # what was being fetched is free again once the request has ended
        opened(server, tmp_path).shard_memory(1)


LEAVE = """
import os, sys, threading
from pathlib import Path
from imagefeed import open_dataset
from imagefeed.pipeline.files.cache import CacheOptions
from imagefeed.pipeline.files.object_store import StorageOptions
dataset = open_dataset(sys.argv[1], cache=CacheOptions(folder=Path(sys.argv[2])), storage=StorageOptions(timeout=600))
epoch = iter(dataset.loader(batch_size=28, dtype="uint8", num_threads=2))
print("begun", flush=True)
if sys.argv[3] == "wait":
    next(epoch)
elif sys.argv[3] == "fork":
    child = os.fork()
    if child == 0:
        sys.exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("way", ["exit", "fork", "wait"])
def test_python_ends_at_once_beside_a_stalled_server(server: FileServer, tmp_path: Path, way: str) -> None:
    page_to_ask()  # compiled by now: the process is to say nothing
    server.fault = always("stall")
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE, f"{server.url}/train", str(tmp_path), way],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        if way == "wait":
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SOON)
        assert process.returncode == (-signal.SIGINT if way == "wait" else 0), errors
        assert way == "wait" or errors == ""
    finally:
        process.kill()
        process.communicate()


# S3


@pytest.fixture(scope="module")
def s3(split: Path) -> Iterator[str]:
    """moto's S3 server in a process of its own with the splits in bucket `images`; its address."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    with s3_bucket("images", split.parent) as address:
        yield address


@pytest.mark.parametrize("fault", [None, "drop", "stall", "short", "wrong", "503"])
def test_s3_gives_the_same_batches(
    s3: str, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    with file_server(tmp_path, upstream=s3) as proxy:
        use_s3(monkeypatch, proxy.url.removeprefix("http://"))
        cache, storage = CacheOptions(folder=tmp_path), StorageOptions(timeout=2, attempts=3, pause=0.01)
        dataset = open_dataset("s3://images/train", cache=cache, storage=storage)
        if fault is not None:
            proxy.fault = at_first(fault, 1)
        assert rows(dataset.loader(**BY_SHARDS)) == rows(open_dataset(split).loader(**BY_SHARDS))
        if fault is None:
            assert shard_requests(proxy) == ONCE
            return
        (tmp_path / str(dataset.manifest.shards[1].sha256)).unlink()
        proxy.fault = always(fault)
        with pytest.raises((ConnectionError, ValueError), match="s3://images/train/shard-00001.tar"):
            list(dataset.loader(**BY_SHARDS))


def test_s3_names_what_is_not_there(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch, s3)
    for url in ("s3://images/nothing", "s3://nobody/train"):
        with pytest.raises(FileNotFoundError, match=f"{url}/manifest.json is not there"):
            open_dataset(url, cache=CacheOptions(folder=tmp_path), storage=FAST)
