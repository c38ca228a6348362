"""How a job reaches Ray, the cluster it was submitted to or one of its own, and shares work out on it."""

import logging
import os
import secrets
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0  # seconds without a result before the wait is explained


@contextmanager
def connected() -> Iterator[Mapping[str, float]]:
    """Connects to `$RAY_ADDRESS`, which `ray job submit` sets; without it starts a Ray and ends it.

    Yields the cluster's resources: "CPU", "GPU", ... A Ray of our own listens on loopback only, wants a token
    that nobody else knows, reports no usage and has no dashboard. `ray` must not have been imported before,
    because it reads these settings as it is imported.
    """
    embedded = "RAY_ADDRESS" not in os.environ
    if embedded:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Whatever its name says, on Linux too: the node's address is then 127.0.0.1.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        if "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

    import ray

    if embedded:
        # Workers start in the driver's folder and know nothing of the path that its first lines set.
        workers = {"env_vars": {"PYTHONPATH": str(ROOT)}}
        ray.init(address="local", include_dashboard=False, runtime_env=workers, logging_level=logging.WARNING)
    else:
        ray.init(logging_level=logging.WARNING)  # the submitted folder is the workers' path already
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def absolute(path: Path) -> Path:
    """`path`, absolute. `ValueError` for a relative one in a submitted job, which runs in a copy."""
    if not path.is_absolute() and "working_dir_files" in Path.cwd().parts:
        raise ValueError(f"{path} is relative to the job's own copy of the checkout: give an absolute path")
    return path.absolute()


def outcome(reference: Any) -> Any:
    """What a task or an actor's method returned. Raises the error that it raised, without Ray's wrapping.

    Raises `RuntimeError` where its worker died, and died again each time that it was started anew.
    """
    from ray import get
    from ray.exceptions import RayActorError, RayTaskError, WorkerCrashedError

    try:
        return get(reference)
    except RayTaskError as error:
        raise error.cause from error
    except (RayActorError, WorkerCrashedError) as error:
        raise RuntimeError(
            f"a worker died again and again, the last time so: {error}\nOften memory is short: ask for fewer at a time"
        ) from error


def on_actors(actors: Iterable[Any], method: str, items: Iterable[Any]) -> Iterator[Any]:
    """Yields `actor.method(item)` for each item, as they finish; whichever actor is free takes the next.

    An actor has one item at a time, and none before it has started: where a busy cluster has no room for some
    of the actors, the others do their work.
    """
    import ray

    waiting = deque(items)
    unfinished = len(waiting)
    starting = {actor.__ray_ready__.remote(): actor for actor in actors}
    running: dict[Any, Any] = {}
    while unfinished:
        finished, _ = ray.wait([*starting, *running], num_returns=1, timeout=PATIENCE)
        if not finished:
            print(f"waiting: {len(running)} actors work, {len(starting)} have no room yet", file=sys.stderr)
            continue
        (reference,) = finished
        result = outcome(reference)
        started = reference in starting
        actor = (starting if started else running).pop(reference)
        if waiting:
            running[getattr(actor, method).remote(waiting.popleft())] = actor
        if not started:
            unfinished -= 1
            yield result
