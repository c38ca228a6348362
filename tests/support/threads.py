"""The loader's own threads: after a test none of them is left."""

import gc
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import pytest

T = TypeVar("T")
SOON = 10.0  # seconds, for what should take milliseconds


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("imagefeed-")]


@pytest.fixture
def leaves_no_thread() -> Iterator[None]:
    """Fails a test that leaves one behind; a file asks for it with `pytestmark`."""
    yield
    gc.collect()
    deadline = time.monotonic() + SOON
    while our_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not our_threads()


def shared(items: Iterable[T], num_threads: int = 4) -> list[T]:
    """What threads get of one iterator, all of it together. Raises what ends one of them."""
    found, errors, iterator = [], [], iter(items)

    def take() -> None:
        try:
            for item in iterator:
                found.append(item)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=take) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
    return found
