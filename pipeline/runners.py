"""Where the shards are made: here, or in processes. The cluster's runner is in `jobs/shard.py`.

A runner takes a function and tasks, and yields results as they come, in any order. An exception of a task ends the
run at once.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Runner = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]


def run_here(make: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """One after another in this process."""
    return map(make, tasks)


def processes(workers: int) -> Runner[Any, Any]:
    """In `workers` processes of this machine; in this one where `workers` is 1."""
    return run_here if workers == 1 else partial(_run_in_processes, workers)


def _run_in_processes(workers: int, make: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    others = set(multiprocessing.active_children())
    # "spawn": a fork would copy whatever threads and locks the caller holds.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_die_quietly_on_interrupt)
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


def _die_quietly_on_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
