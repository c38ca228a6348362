"""The loader's own threads: after a test none of them is left."""

import gc
import threading
import time
from collections.abc import Iterator

import pytest

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
