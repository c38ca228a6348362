"""How a job reaches Ray, the cluster it was submitted to or one of its own, and shares work out on it."""

import logging
import os
import secrets
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline.cores import usable_cores

ROOT = Path(__file__).resolve().parents[1]
ANSWER = 10.0  # seconds for a Ray's address to take a connection
PATIENCE = 60.0  # seconds without a result before the wait is explained
MAX_LOSSES = 3  # of one item: an actor that dies of it once may have had bad luck
START = object()  # in the place of an item: the actor has yet to come up

RayAddress = Annotated[
    str | None,
    tyro.conf.arg(
        help="The Ray to work on, HOST:PORT; by default $RAY_ADDRESS, which `ray job submit` sets, or one of our own."
    ),
]


@contextmanager
def connected(address: str | None = None) -> Iterator[Mapping[str, float]]:
    """Connects to the Ray at `address`, or else at `$RAY_ADDRESS`; without either starts a Ray and ends it.

    Yields the cluster's resources: "CPU", "GPU", ... A Ray of our own listens on loopback only, wants a token
    that nobody else knows, reports no usage and has no dashboard. `ray` must not have been imported before,
    because it reads these settings as it is imported.
    """
    embedded = address is None and "RAY_ADDRESS" not in os.environ
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
        cores = usable_cores()  # Ray itself would count those of the machine
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            runtime_env=workers,
            logging_level=logging.WARNING,
        )
    else:
        check_answer(address or os.environ["RAY_ADDRESS"])
        ray.init(address, logging_level=logging.WARNING)  # the submitted folder is the workers' path already
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def check_answer(address: str) -> None:
    """Raises `ConnectionError` where nobody listens at HOST:PORT: Ray itself would try for two minutes, and then end
    the process. Addresses of other forms are Ray's own matter."""
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise ConnectionError(f"no Ray answers at {address} ({error}): start one, or give another address") from error


def absolute(path: Path) -> Path:
    """`path`, absolute. `ValueError` for a relative one in a submitted job, which runs in a copy."""
    if not path.is_absolute() and "working_dir_files" in Path.cwd().parts:
        raise ValueError(f"{path} is relative to the job's own copy of the checkout: give an absolute path")
    return path.absolute()


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
            f"a worker died, the last time so: {error}\nOften memory is short: ask for fewer at a time"
        ) from error


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
