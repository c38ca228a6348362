"""Where tasks run: here, or in processes. The executor of a cluster is in `jobs/cluster/work.py`.

An executor takes a function and tasks, and yields results as they come, in any order. An exception of a task ends the
run at once.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from imagefeed.pipeline.runtime.parent import end_with_parent

T = TypeVar("T")
R = TypeVar("R")
Executor = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]


def run_here(make: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """One after another in this process."""
    return map(make, tasks)


def processes(workers: int) -> Executor[Any, Any]:
    """In `workers` processes of this machine; in this one where `workers` is 1."""
    return run_here if workers == 1 else partial(_run_in_processes, workers)


def _run_in_processes(workers: int, make: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    others = set(multiprocessing.active_children())
    # "spawn": a fork would copy whatever threads and locks the caller holds.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        waiting = iter(tasks)
        running: set[Future[R]] = {pool.submit(make, task) for task in islice(waiting, 2 * workers)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
                running.update(pool.submit(make, task) for task in islice(waiting, 1))
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """First thing in a worker: it ends quietly on an interrupt, and with its driver, also when that one is killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # The workers hold the ends of each other's pipes: nothing else would tell them that nobody has work any more.
    driver = multiprocessing.parent_process()
    assert driver is not None
    end_with_parent(driver.pid)
