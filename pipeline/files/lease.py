"""One writer a folder where no lock ends with its process, as in an object store: a holder gives signs of life.

Holders are numbered. To hold a folder is to have created the file `<number>` in the folder of its marks, which a store
lets one do, with the highest number there is; the holder writes it anew every few seconds. Whoever comes later watches
it for a while: if it changes, the folder is taken; if not, its holder is dead, and the next number is to be had.
Nobody's clock is asked.
"""

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imagefeed.pipeline.files.object_store import FileInfo, ObjectStore, StorageOptions

BEAT = 10.0  # seconds between two signs of life
SILENCE = 4.5  # beats without one, after which a holder counts as dead


class Held(RuntimeError):
    """Another one holds the folder."""


@contextmanager
def lease(marks: ObjectStore, what: str) -> Iterator[Callable[[], None]]:
    """Holds `what`, a folder as messages name it; yields what raises `RuntimeError` where another has taken it since,
    or no sign can be given.

    Raises `Held` where another one holds it.
    """
    token = {"host": socket.gethostname(), "process": os.getpid(), "token": secrets.token_hex(8)}
    while True:
        holder = highest(marks)
        if holder is not None and not is_dead(marks, holder, what):
            continue  # gone with all marks, and another may have begun anew
        number = 1 if holder is None else number_of(holder) + 1
        if claimed(marks, number, token):
            break
    holding = Holding(marks, number, token, what)
    holding.start()
    try:
        yield holding.check
    finally:
        holding.end()


@contextmanager
def lease_here(path: Path, refusal: str, patience: float) -> Iterator[Callable[[], None]]:
    """Holds the folder or file `path` of a file system without locks, by marks beside it, as `lease` does.

    Raises `RuntimeError` with the text `refusal` where another holds it, still after `patience` seconds.
    """
    folder = path.with_name(f".{path.name.removeprefix('.')}.lease")
    folder, end = folder.absolute(), time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                check = stack.enter_context(lease(ObjectStore(f"file://{folder}", StorageOptions()), str(path)))
                break
            except FileNotFoundError:  # the last holder has removed the folder just now
                continue
            except Held as error:
                if time.monotonic() >= end:
                    raise RuntimeError(refusal) from error
        yield check


def number_of(holder: FileInfo) -> int:
    """The number in the name of a holder's file."""
    return int(holder.name)


def highest(marks: ObjectStore) -> FileInfo | None:
    """The file of the last holder, if there is one."""
    try:
        files, _, _ = marks.folder()
    except FileNotFoundError:
        return None
    return max((each for each in files if each.name.isdigit()), key=number_of, default=None)


def claimed(marks: ObjectStore, number: int, token: dict) -> bool:
    """Whether this holder has the number: one of all that try gets it."""
    content = json.dumps(token | {"beat": 0}).encode()
    # The answer to a request that succeeded may get lost, and the second one then finds the file of the first.
    return marks.create(content, str(number)) or marks.read(str(number)) == content


def is_dead(marks: ObjectStore, holder: FileInfo, what: str) -> bool:
    """True once a holder has given no sign for long enough, False when it is gone. Raises `Held` at a sign."""
    seconds = SILENCE * BEAT
    print(f"{what} may be another's: watching {seconds:.0f} s for a sign of life", file=sys.stderr)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(BEAT / 4)
        now = highest(marks)
        if now is None:
            return False
        if now != holder:
            raise Held(f"another conversion is writing to {what}: wait for it, or choose another folder")
    return True


class Holding:
    """The signs of life of one holder, from a thread."""

    def __init__(self, marks: ObjectStore, number: int, token: dict, what: str) -> None:
        self._marks, self._number, self._token, self._what = marks, number, token, what
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
            self._marks.remove()
        except OSError as error:  # all else is done, or has failed for a reason of its own
            print(f"{self._what}: the mark of its holder stays, the next one will watch it ({error})", file=sys.stderr)

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(BEAT):
            count += 1
            try:
                last = highest(self._marks)
                if last is None or number_of(last) != self._number:
                    raise RuntimeError(
                        f"another process has taken {self._what}, because this one gave no sign of life for "
                        f"{SILENCE * BEAT:.0f} s: see that only one runs, then run it again"
                    )
                self._marks.write(json.dumps(self._token | {"beat": count}).encode(), str(self._number))
            except Exception as error:
                self._failed = error
                return
