"""Two machines train, one of them dies, the other goes on from the last checkpoint with the same batches."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagefeed.jobs.runs.folder import CHECKPOINT, METRICS
from imagefeed.jobs.training.config import parse
from imagefeed.jobs.training.train import main
from imagefeed.model.checkpoint import load_checkpoint
from tests.support.processes import send
from tests.training.test_train import Launch, arguments, data, free_port, launches, wait_until

__all__ = ["data", "launches"]  # fixtures

NUM_STEPS = 150
# Weights that stand still: then a step's loss says which images it saw, whoever computed it. And a record for each.
OPTIONS = {"learning_rate": 1e-9, "dropout": 0.0, "log_every": 1, "checkpoint_every": 4, "max_steps": NUM_STEPS}


def losses(out: Path) -> dict[int, float]:
    """Step -> its loss; each step is there once."""
    lines = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert len(steps) == len(set(steps))
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


@dataclass(frozen=True)
class Machine:
    """Where an agent runs: a network namespace with a link to the other one, or else an address of this machine."""

    address: str
    inside: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    def listens(self, port: int) -> bool:
        probe = f"import socket; socket.create_connection(('{self.address}', {port}), 1)"
        return subprocess.run([*self.inside, sys.executable, "-c", probe], stderr=subprocess.DEVNULL).returncode == 0


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines that know each other by a cable alone; two addresses of loopback where that cannot be had."""
    names = [f"feed{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            ip(f"netns add {name}")
        ip(f"link add eth0 netns {names[0]} type veth peer name eth0 netns {names[1]}")
        for number, name in enumerate(names, 1):
            ip(f"-n {name} addr add 10.77.0.{number}/24 dev eth0")
            ip(f"-n {name} link set eth0 up")
            ip(f"-n {name} link set lo up")
        first, second = (
            Machine(f"10.77.0.{number}", ("ip", "netns", "exec", name), (("GLOO_SOCKET_IFNAME", "eth0"),))
            for number, name in enumerate(names, 1)
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        print("two addresses of loopback, because network namespaces cannot be had:", getattr(error, "stderr", error))
        first, second = Machine("127.0.0.1"), Machine("127.0.0.2")
    yield first, second
    for name in names:
        if Path("/run/netns", name).exists():
            ip(f"netns del {name}")


def cut_off(launch: Launch) -> None:
    """Ends an agent and its rank without a word, the agent first, as a power cut does."""
    pid = launch.process.pid
    ranks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, ranks)):
        send(each, signal.SIGKILL)


def test_a_lost_machine_costs_the_steps_since_the_last_checkpoint(
    data: Path, tmp_path: Path, machines: tuple[Machine, Machine], launches: list[Launch]
) -> None:
    out, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    words = arguments(data, out, epochs=10**6, resume=True, **OPTIONS)
    first, second = machines  # the first one holds the rendezvous, and stays
    port = free_port()
    endpoint = f"--rdzv_endpoint={first.address}:{port}"
    elastic = ("--nnodes=1:2", "--max_restarts=3", "--rdzv_backend=c10d", "--rdzv_id=test", endpoint)
    # Five seconds without a sign of life: fewer would give up a machine that is only busy.
    patience = "last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=5"

    def start(machine: Machine) -> Launch:
        launch = Launch(
            words,
            ranks=1,
            torchrun=(
                *elastic,
                f"--rdzv_conf={patience},is_host={machine is first}",
                f"--local_addr={machine.address}",
            ),
            inside=machine.inside,
            # torch 2.13: else an agent that joins after the first rendezvous waits for an address that nobody sends.
            TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",
            **dict(machine.environment),
        )
        launches.append(launch)
        return launch

    stays = start(first)
    wait_until(lambda: first.listens(port), "the rendezvous")
    dies = start(second)

    def saved_by() -> tuple[int, int]:
        """Ranks and steps of the newest checkpoint."""
        if not (out / CHECKPOINT).exists():
            return 0, 0
        checkpoint = load_checkpoint(out / CHECKPOINT)
        return checkpoint["world_size"], checkpoint["step"]

    wait_until(lambda: saved_by() >= (2, 12) or stays.process.poll() is not None, "a checkpoint of both")
    cut_off(dies)
    dies.end()
    output = stays.end()
    assert stays.process.returncode == 0, output
    assert saved_by() == (1, NUM_STEPS)

    main(parse(arguments(data, undisturbed, epochs=10**6, **OPTIONS)))
    assert losses(out) == pytest.approx(losses(undisturbed), rel=1e-4)
    assert len(set(losses(undisturbed).values())) == NUM_STEPS  # so that another order would show
