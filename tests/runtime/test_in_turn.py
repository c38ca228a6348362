"""Threads that share an iterator get each item once, and each of them comes to its end."""

import threading
import time
from collections.abc import Generator

import pytest

from imagefeed.pipeline.runtime.in_turn import InTurn
from tests.support.threads import shared


def slowly(count: int) -> Generator[int, None, None]:
    for number in range(count):
        time.sleep(0.001)
        yield number


def test_each_item_comes_once_and_each_thread_ends() -> None:
    assert sorted(shared(InTurn(slowly(100)))) == list(range(100))


def test_close_ends_it_for_all() -> None:
    items = InTurn(slowly(100))
    assert next(items) == 0
    threading.Thread(target=items.close).start()
    with pytest.raises(StopIteration):
        while True:
            next(items)
            time.sleep(0.01)
