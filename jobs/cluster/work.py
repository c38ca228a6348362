"""Work shared out on Ray: tasks and actors, and what is done when one is lost."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

PATIENCE = 60.0  # seconds without a result before the wait is explained
MAX_LOSSES = 3  # of one item: an actor that dies of it once may have had bad luck
T = TypeVar("T")
R = TypeVar("R")
START = object()  # in the place of an item: the actor has yet to come up


class Lost(RuntimeError):
    """The process or the machine that had a piece of work is gone; the work itself may be sound."""


def outcome(reference: Any) -> Any:
    """What a task or an actor's method returned. Raises what it raised, without Ray's wrapping, or `Lost`."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise Lost(
            f"a worker died, the last time so: {' '.join(str(error).split())} Run the same again; often memory is "
            "short, then ask for fewer at a time"
        ) from error


def hiring(kind: type, *arguments: Any, shared: Any, num_cpus: int, num_gpus: int) -> Callable[[], Any]:
    """What starts an actor: `kind(*arguments, shared)` on its CPUs and GPUs.

    `shared` may be large: each machine of the cluster holds it once, however many of the actors it has.
    """
    import ray  # only once `connected` has set what Ray reads at its import

    actor: Any = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(kind)
    held = ray.put(shared)
    return lambda: actor.remote(*arguments, held)


def on_actors(hire: Callable[[], Any], number: int, method: str, items: Iterable[Any]) -> Iterator[Any]:
    """Yields `actor.method(item)` for each item, as they finish; whichever actor is free takes the next.

    `hire` starts an actor, `number` of them are kept. An actor has one item at a time, and none before it runs: where
    a busy cluster has no room for some of them, the others do their work. For an actor that is lost another one is
    hired, and its item done again. Raises what the method raises, and `Lost` where the same item, or the mere start
    of an actor, is lost more than `MAX_LOSSES` times.
    """
    import ray

    waiting = deque(items)
    unfinished = len(waiting)
    at_work: dict[Any, tuple[Any, Any]] = {}  # the reference of a result: the actor and the item that it has
    losses: Counter[Any] = Counter()
    to_hire = number
    while unfinished:
        for _ in range(to_hire):
            actor = hire()
            at_work[actor.__ray_ready__.remote()] = actor, START
        to_hire = 0
        finished, _ = ray.wait(list(at_work), num_returns=1, timeout=PATIENCE)
        if not finished:
            num_starting = sum(item is START for _, item in at_work.values())
            print(f"waiting; actors without room on the cluster: {num_starting} of {len(at_work)}", file=sys.stderr)
            continue
        actor, item = at_work.pop(finished[0])
        try:
            result = outcome(finished[0])
        except Lost:
            losses[item] += 1
            if losses[item] > MAX_LOSSES:
                raise
            waiting.extendleft([] if item is START else [item])
            to_hire = 1
            continue
        if waiting:
            following = waiting.popleft()
            at_work[getattr(actor, method).remote(following)] = actor, following
        if item is not START:
            unfinished -= 1
            yield result


TASKS_IN_FLIGHT_PER_CPU = 2
MAX_RETRIES = 3  # of a task whose worker dies, or that meets an OSError


def on_ray(make: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """Runs each task as a Ray task of one CPU, a bounded number in flight; results in the order they finish.

    Ray runs a task again whose worker or node dies. Of a worker that stands still on a node that has died it may
    hear neither of its end nor of its work: where nothing has come for `PATIENCE` seconds and a node has died since,
    all that is in flight is begun again. Tasks must bear to be run twice.
    """
    import ray  # only once `connected` has set what Ray reads at its import

    remote = ray.remote(make).options(num_cpus=1, max_retries=MAX_RETRIES, retry_exceptions=[OSError])
    waiting = iter(tasks)
    in_flight = int(ray.cluster_resources()["CPU"]) * TASKS_IN_FLIGHT_PER_CPU
    running = {remote.remote(task): task for task in islice(waiting, in_flight)}
    dead = dead_nodes()
    while running:
        finished, _ = ray.wait(list(running), num_returns=1, timeout=PATIENCE)
        if not finished:
            more = dead_nodes() - dead
            again = "; a node has died, so they are begun again" if more else ""
            print(f"waiting for {len(running)} tasks, none done in {PATIENCE:.0f} s{again}", file=sys.stderr)
            if more:
                dead |= more
                for reference in running:
                    ray.cancel(reference)
                running = {remote.remote(task): task for task in running.values()}
            continue
        del running[finished[0]]
        yield outcome(finished[0])
        running |= {remote.remote(task): task for task in islice(waiting, 1)}


def dead_nodes() -> set[str]:
    """The ids of the cluster's nodes that have died."""
    import ray

    return {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
