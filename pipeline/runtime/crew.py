"""Threads that work ahead of a consumer, by a bounded number of tasks; all of them work at the same task.

They are our own threads because Numba's parallel loops abort the process or hang when two loaders run at once or after
a fork. These live for one epoch: between epochs there is nothing that a fork could lose.
"""

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar


class Task(Protocol):
    """One piece of work that several threads do together."""

    def work(self, scratch: Any) -> None:
        """Takes part until nothing is left to begin."""
        ...

    def is_claimed(self) -> bool:
        """Whether nothing is left to begin; threads may still be at what they have begun."""
        ...

    def stop(self) -> None:
        """Leaves nothing to begin."""
        ...


T = TypeVar("T", bound=Task)


class Crew(Generic[T]):
    """`num_threads` threads over the tasks `make_task(0)`, ..., `make_task(num_tasks - 1)`, in order.

    `open_scratch` gives each thread memory that it alone uses. At most `ahead` tasks are in work, or done and not
    taken. An exception in a thread ends the work and is raised by `take`.
    """

    def __init__(
        self,
        make_task: Callable[[int], T],
        num_tasks: int,
        *,
        num_threads: int,
        ahead: int,
        open_scratch: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._make_task, self._num_tasks = make_task, num_tasks
        self._ahead, self._open_scratch = ahead, open_scratch
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: deque[T] = deque()  # made and not taken, oldest first; only the newest has work to begin
        self._busy: dict[T, int] = {}  # how many threads are at each of them
        self._num_made = self._num_taken = 0
        self._error: BaseException | None = None
        self._stopped = False
        self._process = os.getpid()
        # Daemons, so that Python's exit does not wait for them before it comes to `close_all`, which ends them.
        self._threads = [
            threading.Thread(target=self._serve, name=f"imagefeed-{number}", daemon=True)
            for number in range(num_threads)
        ]
        _crews.add(self)
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:  # no more threads may be started
            self.stop()
            raise

    def take(self) -> T | None:
        """The next task once it is complete, in order; None after the last. Any number of threads may ask.

        Raises what a thread raised, at once, and `RuntimeError` in a forked process, which has none of the threads.
        """
        if os.getpid() != self._process:
            raise RuntimeError("this iterator was made before a fork and its threads are not here: make a new one")
        with self._changed:
            while True:
                if self._num_taken == self._num_tasks:  # perhaps by another thread, while this one has waited
                    return None
                if self._error is not None or self._stopped:
                    raise self._error or RuntimeError("this iterator was closed: make a new one")
                if self._waiting and self._waiting[0].is_claimed() and not self._busy[self._waiting[0]]:
                    task = self._waiting.popleft()
                    del self._busy[task]
                    self._num_taken += 1
                    self._changed.notify_all()
                    return task
                self._changed.wait()

    def stop(self) -> None:
        """Tells the threads to end after their present step and does not wait: a garbage collector may call this."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._stopped = True
            for task in self._waiting:
                task.stop()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the threads."""
        self.stop()
        for thread in self._threads:
            if os.getpid() == self._process and thread.ident is not None:
                thread.join()

    def _serve(self) -> None:
        try:
            with self._open_scratch() as scratch:
                while (task := self._join()) is not None:
                    task.work(scratch)
                    self._leave(task)
                    del task  # so that a thread that waits does not keep the last one alive
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _join(self) -> T | None:
        """A task with work to begin, which is made where there is room for it; None when there is no more to do."""
        with self._changed:
            while not self._stopped and self._error is None:
                if not self._waiting or self._waiting[-1].is_claimed():
                    if self._num_made == self._num_tasks:
                        return None
                    if self._num_made == self._num_taken + self._ahead:
                        self._changed.wait()
                        continue
                    self._waiting.append(self._make_task(self._num_made))
                    self._busy[self._waiting[-1]] = 0
                    self._num_made += 1
                self._busy[self._waiting[-1]] += 1
                return self._waiting[-1]
            return None

    def _leave(self, task: T) -> None:
        with self._changed:
            self._busy[task] -= 1
            self._changed.notify_all()


_crews: weakref.WeakSet[Crew] = weakref.WeakSet()


@atexit.register
def close_all() -> None:
    """Ends the threads of iterators that are still there when Python exits: none may run while it shuts down."""
    for crew in list(_crews):
        crew.close()
