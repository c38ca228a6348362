"""Shards that an epoch is about to need, fetched by threads of their own while others are read.

A server that does not answer must not make anything hang. So nobody waits for these threads to end, and whoever waits
for a shard asks several times a second whether to stop. To stop is to set a flag, without a lock: a garbage collector
may do it at any point.
"""

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from imagefeed.pipeline.files.object_store import POLL, Cancelled
from imagefeed.pipeline.sampling.residency import ShardResidency

NUM_THREADS = 4  # requests at once: one connection to an object store gives 50 to 100 MB/s
LAST_WAIT = 1.0  # seconds that Python's exit gives a request under way


class Prefetcher:
    """Fetches the shards of `residency` in their order and holds each until its last batch, `room` bytes at most.

    `hold(shard, cancelled)` returns what keeps a shard here for as long as it is referred to.
    """

    def __init__(self, residency: ShardResidency, room: int, hold: Callable[[int, Callable[[], bool]], Any]) -> None:
        self._residency, self._room, self._hold = residency, room, hold
        self._stopped = False
        self._changed = threading.Condition()  # guards all that follows
        self._held: dict[int, Any] = {}  # by row of `residency`
        self._bytes = 0  # held or being fetched
        self._num_begun = 0
        self._missing: set[int] = set()  # rows that are being fetched
        self._batch = 0  # the newest that somebody waited for
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._serve, name=f"imagefeed-fetch-{number}", daemon=True)
            for number in range(min(NUM_THREADS, len(residency.shard)))
        ]
        _prefetchers.add(self)
        for thread in self._threads:
            thread.start()

    def wait(self, batch: int, cancelled: Callable[[], bool]) -> None:
        """Returns when all shards are here that `batch` reads, or when nobody wants it any more.

        Shards whose last batch lies before `batch` may go. Raises what the fetching of a shard raised.
        """
        with self._changed:
            if batch > self._batch:
                self._batch = batch
                held = self._held
                for row in [row for row in held if self._residency.last[row] < batch]:
                    del held[row]
                    self._bytes -= int(self._residency.num_bytes[row])
                self._changed.notify_all()
            num_needed = self._residency.num_needed(batch)
            while not (self._stopped or cancelled()):
                if self._error is not None:
                    raise self._error
                if self._num_begun >= num_needed and all(row >= num_needed for row in self._missing):
                    return
                self._changed.wait(POLL)

    def stop(self) -> None:
        """Lets go of all shards and tells the threads to end after their present request; does not wait."""
        self._stopped = True
        self._held = {}

    def join(self, until: float) -> None:
        """Waits for the end of the threads, until the monotonic clock shows `until` (seconds)."""
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _serve(self) -> None:
        while (row := self._begin()) is not None:
            try:
                held = self._hold(int(self._residency.shard[row]), lambda: self._stopped)
            except Cancelled:
                return
            except BaseException as error:
                with self._changed:
                    self._error = self._error or error
                    self._changed.notify_all()
                return
            with self._changed:
                self._held[row] = held
                if self._stopped:  # perhaps only since the check above
                    self._held = {}
                self._missing.remove(row)
                self._changed.notify_all()
            del held  # so that a thread that waits for its next shard does not keep the last one here

    def _begin(self) -> int | None:
        """The next row to fetch, once there is room for it or somebody waits for it; None when there is no more."""
        with self._changed:
            while not self._stopped and self._error is None and self._num_begun < len(self._residency.shard):
                row = self._num_begun
                size = int(self._residency.num_bytes[row])
                if self._bytes + size <= self._room or row < self._residency.num_needed(self._batch):
                    self._num_begun += 1
                    self._bytes += size
                    self._missing.add(row)
                    return row
                self._changed.wait(POLL)
            return None


_prefetchers: weakref.WeakSet[Prefetcher] = weakref.WeakSet()


@atexit.register
def stop_all() -> None:
    """Ends what still fetches when Python exits, except where a server keeps it waiting."""
    for prefetcher in list(_prefetchers):
        prefetcher.stop()
    until = time.monotonic() + LAST_WAIT
    for prefetcher in list(_prefetchers):
        prefetcher.join(until)
