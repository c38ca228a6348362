"""The cache holds what it should and no more, for any number of threads and processes, whoever is killed when."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagefeed.pipeline.files.cache import GB, Cache, CacheOptions, Wanted
from imagefeed.pipeline.files.mapped_file import MappedFile
from imagefeed.pipeline.files.object_store import Cancelled

ROOT = Path(__file__).resolve().parents[2]
SIZE = 1000  # bytes of each file here
SOON = 10.0


def cache_of(folder: Path, num_files: float = 100, patience: float = 5.0) -> Cache:
    return Cache(folder, CacheOptions(folder=folder, gigabytes=num_files * SIZE / GB, patience=patience))


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


def wanted(number: int, log: list[int] | None = None) -> Wanted:
    """File `number`; `log` takes down that it was fetched."""

    def fetch() -> Iterator[bytes]:
        if log is not None:
            log.append(number)
        yield content(number)[:600]
        yield content(number)[600:]

    return Wanted(hashlib.sha256(content(number)).hexdigest(), SIZE, fetch, f"shard {number}")


def have(cache: Cache, number: int, log: list[int] | None = None) -> None:
    with cache.open(wanted(number, log)) as file:
        assert file.read() == content(number)


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"lock"}


def digests(*numbers: int) -> set[str]:
    return {wanted(number).digest for number in numbers}


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    cache, log = cache_of(tmp_path), list[int]()
    for _ in range(3):
        have(cache, 1, log)
    have(cache_of(tmp_path), 1, log)
    assert log == [1] and kept(tmp_path) == digests(1)


def test_threads_that_want_one_file_fetch_it_once(tmp_path: Path) -> None:
    cache, log = cache_of(tmp_path), list[int]()
    threads = [threading.Thread(target=have, args=(cache, number % 3, log)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert sorted(log) == [0, 1, 2] and kept(tmp_path) == digests(0, 1, 2)


def test_the_least_recently_opened_goes_first(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, num_files=3)
    for number in (0, 1, 2, 0, 3):
        have(cache, number)
        assert cache.capacity() == 3 * SIZE
    assert kept(tmp_path) == digests(2, 0, 3)


def test_what_somebody_uses_stays(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, num_files=2)
    with cache.open(wanted(0)):
        for number in (1, 2, 3):
            have(cache, number)
        assert kept(tmp_path) == digests(0, 3)
    with cache.open(wanted(1)):
        mapping = MappedFile(cache.path(wanted(1).digest), SIZE, locked=True)  # which outlives its file's descriptor
    num_open = len(os.listdir("/proc/self/fd"))
    for number in (2, 3, 4):
        have(cache, number)
    assert kept(tmp_path) == digests(1, 4)
    del mapping
    have(cache, 5)
    have(cache, 6)
    assert kept(tmp_path) == digests(5, 6)
    assert len(os.listdir("/proc/self/fd")) == num_open


def test_no_room_while_all_is_in_use_is_an_error_in_the_end(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, num_files=2, patience=0.2)
    with cache.open(wanted(0)), cache.open(wanted(1)):
        with pytest.raises(TimeoutError, match=r"no room for shard 2 \(1,000 bytes\) while 2,000 bytes are in use"):
            cache.open(wanted(2))
        cancelled = iter([False, True])
        with pytest.raises(Cancelled):
            cache_of(tmp_path, num_files=2).open(wanted(2), lambda: next(cancelled))
    have(cache, 2)
    assert len(kept(tmp_path)) == 2


def test_room_is_waited_for(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, num_files=1)
    held = cache.open(wanted(0))
    timer = threading.Timer(0.2, held.close)
    timer.start()
    have(cache, 1)
    timer.join()
    assert kept(tmp_path) == digests(1)


def test_a_file_larger_than_the_cache_or_the_disk_evicts_nothing(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, num_files=1.5)
    have(cache, 0)
    with pytest.raises(OSError, match=r"shard 7 \(2,000 bytes\) is more than the cache .* can hold"):
        cache.open(wanted(7)._replace(size=2 * SIZE))
    with pytest.raises(OSError, match="can hold: give it more room"):  # no disk has that
        Cache(tmp_path, CacheOptions(gigabytes=1e12)).open(wanted(7)._replace(size=10**18))
    assert kept(tmp_path) == digests(0)


def test_wrong_bytes_are_fetched_again_and_then_an_error(tmp_path: Path) -> None:
    cache, tries = cache_of(tmp_path), iter([b"x" * SIZE, content(1), b"x" * SIZE, b"x" * SIZE])
    once = wanted(1)._replace(fetch=lambda: [next(tries)])
    with cache.open(once) as file:
        assert file.read() == content(1)
    twice = wanted(2)._replace(fetch=lambda: [next(tries)])
    with pytest.raises(ValueError, match="shard 2 is not what the manifest says"):
        cache.open(twice)
    assert kept(tmp_path) == digests(1)


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fetch() -> Iterator[bytes]:
        yield content(1)[:600]
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        cache_of(tmp_path).open(wanted(1)._replace(fetch=fetch))
    assert kept(tmp_path) == set()


def test_a_file_that_was_cut_short_is_fetched_again(tmp_path: Path) -> None:
    cache, log = cache_of(tmp_path), list[int]()
    have(cache, 1, log)
    os.truncate(cache.path(wanted(1).digest), 10)
    have(cache, 1, log)
    assert log == [1, 1]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"x" * 5 * SIZE)
    cache = cache_of(tmp_path, num_files=1)
    for number in (0, 1):
        have(cache, number)
    assert kept(tmp_path) == digests(1) | {"mine.txt"}


# Processes

PROCESS = """
import sys, time
from pathlib import Path
from tests.files.test_cache import cache_of, have, wanted, content
folder, what = Path(sys.argv[1]), sys.argv[2]
cache = cache_of(folder / "cache", num_files=4)

def slowly():
    (folder / "begun").touch()
    yield content(9)[:600]
    time.sleep(600)

if what == "slowly":
    cache.open(wanted(9)._replace(fetch=slowly))
elif what == "hold":
    file = cache.open(wanted(9))
    print("held", flush=True)
    time.sleep(600)
else:  # goes round and round through more files than fit
    log = []
    for step in range(60):
        have(cache, (step * int(what)) % 7, log)
    with open(folder / f"log-{what}", "w") as file:
        file.write(" ".join(map(str, log)))
"""


def start(folder: Path, what: str) -> subprocess.Popen:
    (folder / "cache").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), what], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 3 * SOON
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_killed_while_it_fetches_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    process = start(tmp_path, "slowly")
    try:
        await_file(tmp_path / "begun")
        cache = cache_of(tmp_path / "cache", num_files=1, patience=0.3)
        assert kept(cache.folder) == {wanted(9).digest + ".part"}
        with pytest.raises(TimeoutError, match="shard 9 is being fetched by another process, which does not get on"):
            cache.open(wanted(9))
        with pytest.raises(TimeoutError, match="no room for shard 1"):
            cache.open(wanted(1))  # what is being fetched is counted, and not evicted
        process.send_signal(signal.SIGKILL)
        process.wait(SOON)
        have(cache, 1)  # which needs the room
        assert kept(cache.folder) == digests(1)
        have(cache, 9)
    finally:
        process.kill()
        process.communicate()


def test_another_process_takes_over_what_a_killed_one_began(tmp_path: Path) -> None:
    process = start(tmp_path, "slowly")
    try:
        await_file(tmp_path / "begun")
        cache = cache_of(tmp_path / "cache")
        killer = threading.Timer(0.3, process.kill)
        killer.start()
        have(cache, 9)  # waits, then begins anew
        killer.join()
        assert kept(cache.folder) == digests(9)
    finally:
        process.kill()
        process.communicate()


def test_what_another_process_uses_stays_until_it_dies(tmp_path: Path) -> None:
    process = start(tmp_path, "hold")
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        cache = cache_of(tmp_path / "cache", num_files=2)
        for number in (1, 2):
            have(cache, number)
        assert kept(cache.folder) == digests(9, 2)
        process.kill()
        process.wait(SOON)
        have(cache, 3)
        assert kept(cache.folder) == digests(2, 3)
    finally:
        process.kill()
        process.communicate()


def test_processes_that_evict_and_fetch_at_once_get_the_right_bytes(tmp_path: Path) -> None:
    processes = [start(tmp_path, what) for what in ("1", "2", "3")]
    for process in processes:
        process.communicate(timeout=6 * SOON)
    assert [process.returncode for process in processes] == [0, 0, 0]  # each has compared what it read
    left = kept(tmp_path / "cache")
    assert left <= digests(*range(7)) and len(left) <= 4


@pytest.mark.parametrize("options", [{"gigabytes": 0}, {"patience": 0}])
def test_options_that_cannot_work(options: dict) -> None:
    with pytest.raises(ValueError, match="above 0"):
        CacheOptions(**options)
