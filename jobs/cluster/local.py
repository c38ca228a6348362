"""A Ray head on this machine: on loopback, behind a token, in the background until it is told to stop.

    eval "$(./run cluster)"                  # starts it; RAY_ADDRESS and the rest are then set in this shell
    ray job submit -- python jobs/shard.py   # without --working-dir the job's folder is this checkout
    eval "$(./run cluster stop)"             # ends it, and no other Ray; nothing of it is then set in this shell

Its keeper is a process that holds a lock on $IMAGEFEED_HOME/cluster/lock, and ends all that it started with itself.
"""

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from imagefeed.jobs.cluster.connect import RAY, session_folder
from imagefeed.jobs.cluster.processes import contained, start
from imagefeed.pipeline.files.atomic import write_atomically
from imagefeed.pipeline.files.locks import try_lock
from imagefeed.pipeline.files.paths import checkout, home, in_home
from imagefeed.pipeline.runtime.command import run_command

PATIENCE = 120.0  # seconds for the head to come up, or to end
OBJECT_STORE_BYTES = 256_000_000  # the jobs pass paths and small tables through it, no images

SET = (  # the variables by which a shell finds the cluster, beside its PATH
    *("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"),
    *("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"),
)


class Cluster(NamedTuple):
    """A running head."""

    head: "subprocess.Popen[bytes]"
    settings: dict[str, str]  # the environment by which `ray`, `python` and the jobs find it
    environment: dict[str, str]  # the same on top of this process's own, less what speaks of another Ray


@contextmanager
def local_cluster() -> Iterator[Cluster]:
    """Runs a head for the length of the block, which ends it and all else that was started within.

    Raises RuntimeError with the end of Ray's own log if the head does not come up.
    """
    with session_folder() as folder, contained():
        token = Path(folder, "token")
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        port, dashboard, agent, client = free_ports(4)
        access = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Whatever its name says, on Linux too: the head and all who talk to it use 127.0.0.1.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | access
        command = ["ray", "start", "--head", "--block", f"--temp-dir={folder / RAY}", f"--port={port}"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
        command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
        command += [f"--object-store-memory={OBJECT_STORE_BYTES}"]
        url = f"http://127.0.0.1:{dashboard}"
        with Path(folder, "head.log").open("w+b") as log:
            head = start(command, environment, checkout() or home(), log)
            deadline = time.monotonic() + PATIENCE
            while not answers(f"{url}/api/version", token.read_text()):
                if head.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"Ray did not start; its last words:\n{log.read().decode()[-2000:]}")
                time.sleep(0.2)
        settings = access | {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_API_SERVER_ADDRESS": url}
        assert settings.keys() == {"PATH", *SET}
        yield Cluster(head, settings, environment | settings)


def free_ports(number: int) -> list[int]:
    """TCP ports on loopback that nobody listens on at the moment, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(url: str, token: str) -> bool:
    """Whether a server is there that takes the token."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def keep(folder: Path) -> None:
    """Runs a head until a signal comes. Raises RuntimeError if it dies by itself, or if one runs."""
    with (folder / "lock").open("a+") as lock:
        if not try_lock(lock):
            raise RuntimeError(f"another process keeps a cluster in {folder}: end it by `./run cluster stop`")
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        exports = folder / "environment"
        try:
            with local_cluster() as cluster:
                lines = [f"export {name}={shlex.quote(value)}\n" for name, value in cluster.settings.items()]
                write_atomically(exports, "".join(lines).encode())
                while os.wait()[0] != cluster.head.pid:
                    pass  # a process of Ray's whose parent had died
                raise RuntimeError("the head of the cluster has died")
        finally:
            exports.unlink(missing_ok=True)


def keeper(folder: Path) -> int | None:
    """The id of the process that keeps a cluster, if one does."""
    if not (folder / "lock").exists():
        return None
    with (folder / "lock").open() as lock:
        return None if try_lock(lock, shared=True) else int(lock.read() or 0) or None


def start_cluster(folder: Path) -> None:
    """Starts a keeper, unless there is one, and prints what a shell must set to use the cluster."""
    folder.mkdir(parents=True, exist_ok=True)
    exports, log = folder / "environment", folder / "log"
    if keeper(folder) is None:
        exports.unlink(missing_ok=True)  # of one that was killed
        with log.open("wb") as output:
            command = [sys.executable, "-m", "imagefeed.jobs.cluster.local", "keep"]
            child = subprocess.Popen(command, cwd=checkout(), stdout=output, stderr=output, start_new_session=True)
        while not exports.exists():
            if child.poll() is not None and keeper(folder) is None:
                raise RuntimeError(f"the cluster did not start:\n{log.read_text()}")
            time.sleep(0.2)
    print(exports.read_text(), end="")
    if sys.stdout.isatty():
        print('a cluster runs; in a shell that is to use it: eval "$(./run cluster)"', file=sys.stderr)


def stop_cluster(folder: Path) -> None:
    """Ends the cluster of this folder and all that runs on it; no other Ray. Prints what makes a shell forget it."""
    process = keeper(folder)
    if process is None:
        print("no cluster of this folder runs", file=sys.stderr)
    else:
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while keeper(folder) == process:
            if time.monotonic() > deadline:
                raise RuntimeError(f"process {process}, which keeps the cluster, does not end")
            time.sleep(0.1)
        print("the cluster has ended", file=sys.stderr)
    print(f"unset {' '.join(SET)}")
    if sys.stdout.isatty():
        print('in a shell that was to use it: eval "$(./run cluster stop)"', file=sys.stderr)


def main(action: Annotated[Literal["start", "stop", "keep"], tyro.conf.Positional] = "start") -> None:
    """Start or stop a Ray head on this machine.

    Args:
        action: start prints what a shell must set; stop ends it and prints what a shell must unset; keep runs it in
            the foreground.
    """
    {"start": start_cluster, "stop": stop_cluster, "keep": keep}[action](in_home("cluster"))


if __name__ == "__main__":
    run_command(lambda: tyro.cli(main))
