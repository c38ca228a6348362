"""Shards are here before their batch, never more than the room allows without need, and an end is an end."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefeed.pipeline.files.object_store import Cancelled
from imagefeed.pipeline.loader.prefetch import Prefetcher
from imagefeed.pipeline.sampling.residency import ShardResidency, residency

SOON = 10.0  # seconds, for what should take milliseconds


def wait(prefetcher: Prefetcher, batch: int) -> None:
    """Waits for the shards of `batch`; gives up in the end, so that a test fails and does not hang."""
    deadline = time.monotonic() + SOON
    prefetcher.wait(batch, lambda: time.monotonic() > deadline)


class Store:
    """Shards of which it knows which are held: a shard is here as long as what `hold` gave lives."""

    def __init__(self, sizes: np.ndarray, wait: Callable[[int, Callable[[], bool]], None] | None = None) -> None:
        self.sizes, self.wait = sizes, wait
        self.lock = threading.Lock()
        self.here: set[int] = set()
        self.begun: list[int] = []
        self.most = 0  # bytes that were here or being fetched at once

    def hold(self, shard: int, cancelled: Callable[[], bool]) -> Any:
        with self.lock:
            self.begun.append(shard)
        if self.wait is not None:
            self.wait(shard, cancelled)
        return Held(self, shard)


class Held:
    def __init__(self, store: Store, shard: int) -> None:
        self.store, self.shard = store, shard
        with store.lock:
            store.here.add(shard)
            store.most = max(store.most, sum(int(store.sizes[each]) for each in store.here))

    def __del__(self) -> None:
        with self.store.lock:
            self.store.here.discard(self.shard)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("imagefeed-fetch-")]


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


@pytest.fixture(autouse=True)
def leaves_no_thread() -> Iterator[None]:
    yield
    gc.collect()
    assert until(lambda: not threads())


def one_each(count: int, size: int = 1) -> ShardResidency:
    """`count` shards of `size` bytes, of which batch i reads shard i alone and none may be held longer."""
    numbers = np.arange(count)
    return ShardResidency(numbers, np.full(count, size), numbers, numbers)


@settings(max_examples=40)
@given(
    shards=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    global_batch=st.integers(1, 5),
    room=st.integers(0, 200),
)
def test_what_a_batch_reads_is_here_when_its_wait_ends_and_the_room_is_kept(
    shards: list[int], global_batch: int, room: int
) -> None:
    sizes = np.array([7, 1, 100, 20, 30, 5])
    needed = residency(np.array(shards), sizes, global_batch=global_batch, ahead=1)
    store = Store(sizes)
    prefetcher = Prefetcher(needed, room, store.hold)
    for batch, start in enumerate(range(0, len(shards), global_batch)):
        wait(prefetcher, batch)
        assert set(shards[start : start + global_batch]) <= store.here
    assert sorted(store.begun) == sorted(set(shards))  # each was fetched once
    assert store.most <= max(room, needed.peak())
    prefetcher.stop()


def test_shards_are_fetched_before_anybody_waits_for_them_as_far_as_there_is_room() -> None:
    store = Store(np.full(10, 10))
    prefetcher = Prefetcher(one_each(10, 10), 40, store.hold)
    assert until(lambda: len(store.here) == 4)
    time.sleep(0.05)
    assert store.here == {0, 1, 2, 3}  # and no more
    wait(prefetcher, 2)
    assert until(lambda: store.here == {2, 3, 4, 5})  # the first two were let go
    prefetcher.stop()


def test_what_is_waited_for_comes_even_where_there_is_no_room() -> None:
    store = Store(np.full(3, 10))
    prefetcher = Prefetcher(one_each(3, 10), 0, store.hold)
    for batch in range(3):
        wait(prefetcher, batch)
        assert store.here == {batch}
    prefetcher.stop()


def test_stop_ends_waits_and_threads_and_lets_go_of_all() -> None:
    def stalled(shard: int, cancelled: Callable[[], bool]) -> None:
        while shard >= 2:
            if cancelled():
                raise Cancelled
            time.sleep(0.001)

    store = Store(np.full(9, 1), stalled)
    prefetcher = Prefetcher(one_each(9)._replace(last=np.full(9, 9)), 100, store.hold)
    wait(prefetcher, 1)
    waiter = threading.Thread(target=wait, args=(prefetcher, 5))
    waiter.start()
    prefetcher.stop()
    waiter.join(SOON)
    assert not waiter.is_alive() and until(lambda: not threads())
    assert store.here == set()


def test_who_does_not_want_the_batch_any_more_does_not_wait() -> None:
    gate = threading.Event()
    store = Store(np.full(1, 1), lambda shard, cancelled: assert_set(gate))
    prefetcher = Prefetcher(one_each(1), 10, store.hold)
    prefetcher.wait(0, lambda: True)
    assert store.here == set()
    gate.set()
    wait(prefetcher, 0)
    assert store.here == {0}
    prefetcher.stop()


def assert_set(gate: threading.Event) -> None:
    assert gate.wait(SOON)


def test_an_error_of_a_fetch_reaches_whoever_waits_and_ends_the_threads() -> None:
    def fails(shard: int, cancelled: Callable[[], bool]) -> None:
        if shard == 3:
            raise ConnectionError("shard 3 is not to be had")

    store = Store(np.full(9, 1), fails)
    prefetcher = Prefetcher(one_each(9), 100, store.hold)
    with pytest.raises(ConnectionError, match="shard 3"):
        for batch in range(9):
            wait(prefetcher, batch)
    assert until(lambda: not threads())
    prefetcher.stop()
