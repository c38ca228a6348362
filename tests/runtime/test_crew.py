"""Tasks come complete and in order, never too many ahead, and no way of leaving hangs or leaves a thread behind."""

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from imagefeed.pipeline.runtime.crew import Crew
from tests.support.threads import SOON

pytestmark = pytest.mark.usefixtures("leaves_no_thread")


class Counting:
    """A task of `size` steps that any thread may take."""

    def __init__(self, number: int, size: int = 5, fails_at: int | None = None, gate: threading.Event | None = None):
        self.number, self.size, self.fails_at, self.gate = number, size, fails_at, gate
        self.lock, self.claimed, self.done = threading.Lock(), 0, 0

    def work(self, scratch: list[int]) -> None:
        while True:
            with self.lock:
                if self.claimed >= self.size:
                    return
                self.claimed += 1
                step = self.claimed
            if self.gate is not None:
                assert self.gate.wait(SOON)
            if step == self.fails_at:
                raise ValueError(f"step {step} of task {self.number}")
            scratch.append(self.number)
            time.sleep(0.0002)
            with self.lock:
                self.done += 1

    def is_claimed(self) -> bool:
        return self.claimed >= self.size

    def stop(self) -> None:
        with self.lock:
            self.claimed = self.size


@contextmanager
def nothing() -> Iterator[list[int]]:
    yield []


def crew_of(make_task, num_tasks: int, num_threads: int = 3, ahead: int = 2, scratch=nothing) -> Crew:
    return Crew(make_task, num_tasks, num_threads=num_threads, ahead=ahead, open_scratch=scratch)


@pytest.mark.parametrize("num_threads", [1, 2, 7])
@pytest.mark.parametrize("ahead", [1, 3])
def test_tasks_come_complete_and_in_order(num_threads: int, ahead: int) -> None:
    crew = crew_of(Counting, 20, num_threads, ahead)
    for number in range(20):
        task = crew.take()
        assert task is not None and task.number == number and task.done == task.size
    assert crew.take() is None and crew.take() is None
    crew.close()


def test_no_tasks_at_all() -> None:
    assert crew_of(Counting, 0).take() is None


def test_no_more_than_asked_is_made_ahead() -> None:
    made: list[int] = []

    def make(number: int) -> Counting:
        made.append(number)
        return Counting(number)

    crew = crew_of(make, 100, ahead=3)
    for taken in range(10):
        time.sleep(0.01)
        assert len(made) <= taken + 3
        crew.take()
    crew.close()


def test_several_threads_share_one_task() -> None:
    gate, inside = threading.Event(), []

    class Together(Counting):
        def work(self, scratch: list[int]) -> None:
            inside.append(threading.current_thread())
            super().work(scratch)

    crew = crew_of(lambda number: Together(number, gate=gate), 1)
    deadline = time.monotonic() + SOON
    while len(inside) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    gate.set()
    assert len(set(inside)) == 3 and crew.take() is not None


def test_consumers_may_be_several_and_each_is_told_of_the_end() -> None:
    for _ in range(20):
        crew = crew_of(Counting, 7)

        def tasks(crew: Crew = crew) -> Iterator[int]:
            while (task := crew.take()) is not None:
                yield task.number
            crew.close()  # while others still wait

        with ThreadPoolExecutor(4) as pool:
            taken = [pool.submit(lambda: list(tasks())) for _ in range(4)]
        assert sorted(number for each in taken for number in each.result()) == list(range(7))


@pytest.mark.parametrize("num_threads", [1, 3])
def test_an_error_in_a_task_reaches_the_consumer(num_threads: int) -> None:
    crew = crew_of(lambda number: Counting(number, fails_at=2 if number == 1 else None), 10, num_threads)
    with pytest.raises(ValueError, match="step 2 of task 1"):
        for _ in range(10):
            crew.take()


def test_an_error_in_planning_or_in_a_bench_reaches_the_consumer() -> None:
    def refuse(number: int) -> Counting:
        raise OSError(f"no task {number}")

    def no_bench() -> Any:
        raise MemoryError("no bench")

    with pytest.raises(OSError, match="no task 0"):
        crew_of(refuse, 3).take()
    with pytest.raises(MemoryError, match="no bench"):
        crew_of(Counting, 3, scratch=no_bench).take()


def test_every_bench_is_closed_whatever_happens() -> None:
    opened, closed = [], []

    @contextmanager
    def scratch() -> Iterator[list[int]]:
        opened.append(1)
        try:
            yield []
        finally:
            closed.append(1)

    crew = crew_of(lambda number: Counting(number, fails_at=3 if number == 4 else None), 10, scratch=scratch)
    with pytest.raises(ValueError, match="step 3"):
        while crew.take():
            pass
    crew.close()
    early = crew_of(Counting, 10, scratch=scratch)
    early.take()
    early.close()
    assert len(opened) == len(closed) > 0


def test_closing_wakes_a_consumer_who_waits() -> None:
    gate = threading.Event()
    crew = crew_of(lambda number: Counting(number, gate=gate), 3)
    raised: list[BaseException] = []

    def consume() -> None:
        try:
            crew.take()
        except RuntimeError as error:
            raised.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    time.sleep(0.02)
    crew.stop()
    consumer.join(SOON)
    gate.set()
    assert "closed" in str(raised[0])


def test_a_crew_that_is_dropped_after_stop_is_collected() -> None:
    crew = crew_of(Counting, 1000)
    crew.take()
    seen = weakref.ref(crew)
    crew.stop()
    del crew
    deadline = time.monotonic() + SOON
    while seen() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert seen() is None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_a_forked_process_is_told_and_not_left_waiting() -> None:
    crew = crew_of(Counting, 1000)
    crew.take()
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            crew.close()
            crew.take()
        except RuntimeError as error:
            status = 0 if "fork" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert crew.take() is not None
    crew.close()
