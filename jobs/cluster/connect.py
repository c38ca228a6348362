"""How a job reaches Ray, the cluster it was submitted to or one of its own, and shares work out on it."""

import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import tyro

from imagefeed.pipeline.files.paths import import_path
from imagefeed.pipeline.runtime.cores import usable_cores
from imagefeed.pipeline.runtime.parts import part
from imagefeed.pipeline.runtime.signals import listen_again

RAY = "ray"  # in the folder of a session
SHARED_MEMORY = "/dev/shm"  # where Ray keeps objects
ANSWER = 10.0  # seconds for a Ray's address to take a connection
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
    that nobody else knows, reports no usage and has no dashboard; its files are gone when it ends. `ray` must not have
    been imported before, because it reads these settings as it is imported.
    """
    embedded = address is None and "RAY_ADDRESS" not in os.environ
    if embedded:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Whatever its name says, on Linux too: the node's address is then 127.0.0.1.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        if "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

    with part("ray"):
        import ray

    with ExitStack() as stack:
        if embedded:
            _start(stack.enter_context(session_folder()))
        else:
            check_answer(address or os.environ["RAY_ADDRESS"], "" if address else ", or unset RAY_ADDRESS")
            ray.init(address, logging_level=logging.WARNING)  # the submitted folder is the workers' path already
        stack.callback(ray.shutdown)
        listen_again()  # Ray answers a SIGTERM, such as that of `ray job stop`, with a trace and the end
        yield ray.cluster_resources()


def _start(folder: Path) -> None:
    """Starts a Ray whose files lie in `folder`. Raises `RuntimeError` where it does not come up."""
    import ray

    try:
        ray.init(
            address="local",
            num_cpus=usable_cores(),  # Ray itself would count the cores of the machine
            include_dashboard=False,
            # Workers start in the driver's folder and know nothing of the path that its first lines set.
            runtime_env={"env_vars": import_path()},
            logging_level=logging.WARNING,
            _temp_dir=str(folder / RAY),
            # Ray itself would wait for a minute, and then say that a node timed out.
            _plasma_directory=None if os.access(SHARED_MEMORY, os.W_OK) else str(folder),
        )
    except Exception as error:  # Ray has no kind of its own for it
        raise RuntimeError(
            f"Ray did not start ({' '.join(str(error).split())}): often the machine is too busy, or {folder.parent} is "
            "full; run the same again"
        ) from error


@contextmanager
def session_folder() -> Iterator[Path]:
    """A folder that nobody else may enter, and that is gone after the block. Ray's own files go into a folder in it, as
    Ray opens that one to all users.

    Not in $TMPDIR, where schedulers give long ones: the names of Ray's sockets, which lie below, may have no more than
    107 characters.
    """
    place = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None
    # Ray's last processes may still write a line there while it is removed.
    with tempfile.TemporaryDirectory(prefix="imagefeed-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def check_answer(address: str, cure: str = "") -> None:
    """Raises `ConnectionError` where nobody listens at HOST:PORT: Ray itself would try for two minutes, and then end
    the process. Addresses of other forms are Ray's own matter."""
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise ConnectionError(
            f"no Ray answers at {address} ({error}): start one, or give another address{cure}"
        ) from error
