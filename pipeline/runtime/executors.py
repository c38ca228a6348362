"""Where tasks run: here, or in processes. The executor of a cluster is in `jobs/cluster/work.py`.

An executor takes a function and tasks, and yields results as they come, in any order. An exception of a task ends the
run at once.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from imagefeed.pipeline.runtime.os_errors import doing
from imagefeed.pipeline.runtime.parent import end_with_parent

T = TypeVar("T")
R = TypeVar("R")
Executor = Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]
UNGUARDED = 78  # the status of a worker that comes to start workers itself: sysexits.h's EX_CONFIG
GUARD = (
    "workers begin with the lines of the script that starts them: put it into a file, and what it does behind "
    "`if __name__ == '__main__':`, or use one worker"
)


def shared_memory() -> AbstractContextManager[None]:
    """Around what makes locks and memory that processes share: where Linux has no place for them, that is said."""
    return doing("written", "/dev/shm", "mount it as a tmpfs that can be written to, or use one worker")


def run_here(make: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """One after another in this process."""
    return map(make, tasks)


def processes(workers: int) -> Executor[Any, Any]:
    """In up to `workers` processes of this machine, no more than there are tasks; one alone works in this process.

    A script's own lines must stand behind a main guard: a run of it without one is a `RuntimeError` that says so.
    """
    if workers == 1:
        return run_here
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that still runs the script's lines
        os._exit(UNGUARDED)
    return partial(_run_in_processes, workers)


def _run_in_processes(workers: int, make: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    waiting = iter(tasks)
    first = list(islice(waiting, 2 * workers))
    if len(first) < 2:  # a process takes longer to start than many a task
        yield from run_here(make, first)
        return
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is not None and not os.path.exists(script):  # standard input
        raise RuntimeError(f"{script} cannot be run once more: {GUARD}")
    others = set(multiprocessing.active_children())
    # "spawn": a fork would copy whatever threads and locks the caller holds.
    context = multiprocessing.get_context("spawn")
    with shared_memory():
        pool = ProcessPoolExecutor(min(workers, len(first)), mp_context=context, initializer=_begin)
    started: set[multiprocessing.process.BaseProcess] = set()
    try:
        running: set[Future[R]] = {pool.submit(make, task) for task in first}
        started = set(multiprocessing.active_children()) - others
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
                running.update(pool.submit(make, task) for task in islice(waiting, 1))
    except BrokenProcessPool as error:
        for child in started:
            child.join(1)
        if any(child.exitcode == UNGUARDED for child in started):
            raise RuntimeError(GUARD) from error
        raise BrokenProcessPool(
            "a worker process has ended before its work was done: run the same again, which goes on from here; often "
            "memory is short, then use fewer workers"
        ) from error
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
