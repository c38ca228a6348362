"""A dataset elsewhere gives the batches that it gives here, whatever its server does, or an error that names the shard."""

import gc
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import ConvertOptions, Dataset, convert, open_dataset
from pipeline.cache import GB, CacheOptions
from pipeline.loader import order_of, spans_of
from pipeline.storage import StorageOptions
from tests.servers import FileServer, always, at_first, file_server
from tests.test_loader import rows

ROOT = Path(__file__).resolve().parents[1]
SOON = 10.0  # seconds, for what should take milliseconds
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


@pytest.fixture(autouse=True)
def leaves_no_thread() -> Iterator[None]:
    yield
    gc.collect()
    deadline = time.monotonic() + SOON
    while ours() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not ours()


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("imagefeed-")]


def opened(server: FileServer, folder: Path, num_bytes: float = GB) -> Dataset:
    cache = CacheOptions(folder=folder, gigabytes=num_bytes / GB, patience=5)
    return open_dataset(f"{server.url}/train", cache=cache, storage=FAST)


def shard_requests(server: FileServer) -> dict[str, int]:
    return {name: number for name, number in server.requests.items() if name.startswith("shard")}


def kept(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("shuffle", [True, False, "shards"])
def test_the_batches_are_those_of_the_local_dataset(server: FileServer, split: Path, tmp_path: Path, shuffle) -> None:
    options = {**CHEAP, "shuffle": shuffle, "window": 3, "seed": 5}
    here, there = open_dataset(split).loader(**options), opened(server, tmp_path).loader(**options)
    for _ in range(2):
        assert rows(there) == rows(here)
    assert shard_requests(server) == {f"shard-{number:05d}.tar": 1 for number in range(15)}
    assert kept(tmp_path) == sum(path.stat().st_size for path in split.glob("shard*"))
