"""A server's failures end in the right bytes or in an error that names the URL, and never in waiting."""

import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from imagefeed.pipeline.files import object_store
from imagefeed.pipeline.files.object_store import Cancelled, NoRanges, ObjectStore, StorageOptions, is_url
from tests.support.servers import FileServer, always, at_first, file_server

FAST = StorageOptions(timeout=0.4, attempts=4, pause=0.01)
SIZE = 300_000
ODD = "a b#1%41?.tar"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / ODD).write_bytes(b"odd name")
    (tmp_path / "shard").write_bytes(np.random.default_rng(0).bytes(SIZE))
    with file_server(tmp_path) as server:
        yield server


def content(server: FileServer) -> bytes:
    return (server.folder / "shard").read_bytes()


def read(server: FileServer, options: StorageOptions = FAST) -> bytes:
    return b"".join(ObjectStore(server.url, options).chunks("shard", SIZE))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "CHUNK", 100_001)  # does not divide the size


def test_a_file_comes_in_ranges_or_whole(server: FileServer) -> None:
    assert read(server) == content(server) and server.requests["shard"] == 3
    assert server.num_sent["shard"] == SIZE
    files = ObjectStore(server.url + "/", FAST)
    assert files.size("shard") == SIZE and files.read("shard") == content(server)
    assert files.name("shard") == f"{server.url}/shard"
    server.fault = always("whole", "shard")  # a server that knows no ranges
    server.requests.clear()
    assert read(server) == content(server) and server.requests["shard"] == 1


def test_a_server_that_knows_no_ranges_is_named_at_the_first_request(server: FileServer) -> None:
    server.fault = always("whole", "shard")
    files = ObjectStore(server.url, FAST)
    with pytest.raises(
        NoRanges, match=rf"{server.url}/shard: the server knows no ranges of bytes, it sent {SIZE} bytes"
    ):
        files.part("shard", 0, 10)
    assert server.requests["shard"] == 1


@pytest.mark.parametrize("protocol", ["http", "memory"])
def test_names_with_characters_that_urls_use(server: FileServer, protocol: str) -> None:
    fsspec.filesystem("memory").pipe_file(f"/odd/{ODD}", b"odd name")
    files = ObjectStore(server.url if protocol == "http" else "memory://odd", FAST)
    assert files.read(ODD) == b"odd name" and files.size(ODD) == 8
    assert b"".join(files.chunks(ODD, 8)) == b"odd name"


@pytest.mark.parametrize("fault", ["drop", "stall", "short", "503", "429", "500"])
def test_what_passes_is_outlasted(server: FileServer, fault: str) -> None:
    server.fault = at_first(fault, 2, "shard")
    assert read(server) == content(server)
    assert server.requests["shard"] == 5  # two in vain, and three


@pytest.mark.parametrize("fault", ["drop", "stall", "short", "503"])
def test_what_does_not_pass_is_an_error_in_bounded_time(server: FileServer, fault: str) -> None:
    server.fault = always(fault, "shard")
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=f"{server.url}/shard could not be fetched in .* s, .* run"):
        read(server)
    assert time.monotonic() - began < FAST.patience + 1
    assert server.requests["shard"] == FAST.attempts


@pytest.mark.parametrize(
    ("fault", "error"), [("404", FileNotFoundError), ("403", PermissionError), ("400", ConnectionError)]
)
def test_what_will_not_change_is_not_asked_for_again(server: FileServer, fault: str, error: type[OSError]) -> None:
    server.fault = always(fault, "shard")
    with pytest.raises(error, match=f"{server.url}/shard"):
        read(server)
    assert server.requests["shard"] == 1


def test_nobody_at_the_address(server: FileServer) -> None:
    gone = ObjectStore("http://127.0.0.1:9", FAST)
    with pytest.raises(ConnectionError, match="http://127.0.0.1:9/shard could not be fetched"):
        gone.read("shard")


def test_a_pause_ends_when_nobody_waits_any_more(server: FileServer) -> None:
    server.fault = always("503", "shard")
    began = time.monotonic()
    with pytest.raises(Cancelled):
        patient = StorageOptions(pause=100)
        list(ObjectStore(server.url, patient).chunks("shard", SIZE, lambda: time.monotonic() - began > 0.2))
    assert time.monotonic() - began < 2


def test_pauses_double_and_keep_to_the_stated_time() -> None:
    options = StorageOptions(attempts=6, pause=1, timeout=2)
    for _ in range(100):
        pauses = list(options.pauses())
        assert all(2**k / 2 <= pause <= 2**k for k, pause in enumerate(pauses)) and len(pauses) == 5
        assert sum(pauses) + 6 * 2 <= options.patience == 43
    assert StorageOptions().patience == 157.5  # as its help says


@pytest.mark.parametrize("options", [{"timeout": 0}, {"attempts": 0}, {"pause": -1}])
def test_options_that_cannot_work(options: dict) -> None:
    with pytest.raises(ValueError, match="attempts at least 1"):
        StorageOptions(**options)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://me:secret@host/train", "password or a query"),
        ("https://host/train?token=secret", "password or a query"),
        ("nothing://host/train", "cannot open nothing://"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ObjectStore(url, FAST)
    assert "secret" not in str(caught.value)


def test_what_is_a_url() -> None:
    assert is_url("s3://bucket/train") and not is_url("/data/train") and not is_url(Path("s3://bucket"))
