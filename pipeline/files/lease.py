"""One writer a folder of an object store: no lock there ends with its process, so a holder gives signs of life.

Holders are numbered. To hold the folder is to have created `.lock/<number>`, which a store lets one do, with the
highest number there is; the holder writes it anew every few seconds. Whoever comes later watches it for a while: if it
changes, the folder is taken; if not, its holder is dead, and the next number is to be had. Nobody's clock is asked.
"""

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagefeed.pipeline.files.marks import LOCK
from imagefeed.pipeline.files.object_store import FileInfo, ObjectStore

BEAT = 10.0  # seconds between two signs of life
SILENCE = 4.5  # beats without one, after which a holder counts as dead


@contextmanager
def lease(storage: ObjectStore) -> Iterator[Callable[[], None]]:
    """Holds the folder; yields what raises `RuntimeError` where another has taken it since, or no sign can be given.

    Raises `RuntimeError` where another one holds it.
    """
    token = {"host": socket.gethostname(), "process": os.getpid(), "token": secrets.token_hex(8)}
    while True:
        holder = highest(storage)
        if holder is not None:
            wait_for_its_end(storage, holder)
        number = 1 if holder is None else number_of(holder) + 1
        if claimed(storage, number, token):
            break
    holding = Holding(storage, number, token)
    holding.start()
    try:
        yield holding.check
    finally:
        holding.end()


def number_of(holder: FileInfo) -> int:
    """The number in the name of a holder's file."""
    return int(holder.name.rpartition("/")[2])


def highest(storage: ObjectStore) -> FileInfo | None:
    """The file of the last holder, if there is one."""
    try:
        files, _, _ = storage.folder(LOCK)
    except FileNotFoundError:
        return None
    return max((each for each in files if each.name.rpartition("/")[2].isdigit()), key=number_of, default=None)


def claimed(storage: ObjectStore, number: int, token: dict) -> bool:
    """Whether this holder has the number: one of all that try gets it."""
    file = f"{LOCK}/{number}"
    content = json.dumps(token | {"beat": 0}).encode()
    # The answer to a request that succeeded may get lost, and the second one then finds the file of the first.
    return storage.create(content, file) or storage.read(file) == content


def wait_for_its_end(storage: ObjectStore, holder: FileInfo) -> None:
    """Returns when a holder has given no sign for long enough, or is gone. Raises `RuntimeError` at a sign."""
    seconds = SILENCE * BEAT
    print(f"{storage.url} may be another conversion's: watching {seconds:.0f} s for a sign of life", file=sys.stderr)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(BEAT / 4)
        now = highest(storage)
        if now is None:
            return
        if now != holder:
            raise RuntimeError(f"another conversion is writing to {storage.url}: wait for it, or choose another folder")


class Holding:
    """The signs of life of one holder, from a thread."""

    def __init__(self, storage: ObjectStore, number: int, token: dict) -> None:
        self._storage, self._number, self._token = storage, number, token
        self._failed: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="imagefeed-lease", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def check(self) -> None:
        """Raises `RuntimeError` where the folder is another's by now."""
        if self._failed is not None:
            raise self._failed

    def end(self) -> None:
        """Lets go of the folder."""
        self._ended.set()
        self._thread.join()
        if self._failed is not None:
            return
        try:
            self._storage.below(LOCK).remove()
        except OSError as error:  # all else is done, or has failed for a reason of its own
            url = self._storage.url
            print(f"{url}: the mark of this conversion stays, the next one will watch it ({error})", file=sys.stderr)

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(BEAT):
            count += 1
            try:
                last = highest(self._storage)
                if last is None or number_of(last) != self._number:
                    raise RuntimeError(
                        f"another conversion has taken {self._storage.url}, because this one gave no sign of life for "
                        f"{SILENCE * BEAT:.0f} s: see that only one runs, then run it again"
                    )
                self._storage.write(json.dumps(self._token | {"beat": count}).encode(), f"{LOCK}/{self._number}")
            except Exception as error:
                self._failed = error
                return
