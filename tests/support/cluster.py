"""A Ray of two nodes on this machine, on loopback: the head of `./run cluster`, and a node that joins it."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagefeed.jobs.cluster.processes import descendants
from tests.support.processes import name_of, send

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}  # the last as IPv6 sees the first

# `ray start --address` would have the node at the machine's own address, where the head is not. Its folder is its own,
# as on another machine: in the head's, each of the two would delete the copies of a job that the other one uses.
NODE = """
import os, signal, sys
import ray
from ray._private.node import Node
from ray._private.parameter import RayParams

ports = dict(node_manager_port=0, dashboard_agent_listen_port=0, min_worker_port=0, max_worker_port=0)
sizes = dict(num_cpus=1, object_store_memory=100_000_000)
where = dict(gcs_address=os.environ["RAY_ADDRESS"], temp_dir=sys.argv[1])
Node(RayParams(include_log_monitor=False, **where, **ports, **sizes), head=False)
signal.pause()
"""


def cluster(action: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """What `./run cluster` runs, for the cluster whose home this is."""
    command = [sys.executable, "-m", "imagefeed.jobs.cluster.local", action]
    environment = beside_no_other({"IMAGEFEED_HOME": str(home)})
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=150)


def beside_no_other(settings: dict[str, str]) -> dict[str, str]:
    """The environment with a cluster's settings, and none of a Ray that other tests have had in this process."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | settings


def exported(lines: str) -> dict[str, str]:
    """What a shell would set that evaluates `lines`."""
    words = [shlex.split(line) for line in lines.splitlines()]
    assert all(len(each) == 2 and each[0] == "export" for each in words)
    return dict(each[1].split("=", 1) for each in words)


@contextmanager
def another_node(environment: dict[str, str]) -> Iterator[int]:
    """A second node with one CPU, which has joined when its first task runs; yields its raylet's process id."""
    # Not $TMPDIR: the names of Ray's sockets may have no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="node-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        parent = subprocess.Popen([sys.executable, "-c", NODE, folder], env=environment)
        try:
            deadline = time.monotonic() + 60
            while not (found := [each for each in descendants(parent.pid) if name_of(each) == "raylet"]):
                assert parent.poll() is None and time.monotonic() < deadline, "the second node does not come up"
                time.sleep(0.05)
            yield found[0]
        finally:
            for process in [*descendants(parent.pid), parent.pid]:
                send(process, signal.SIGKILL)
            parent.wait()
