"""Two machines train, one of them dies, the other goes on from the last checkpoint with the same batches."""

import json
import signal
import socket
from pathlib import Path

import pytest

from jobs.run_folder import CHECKPOINT, METRICS
from jobs.train import main, parse
from model.checkpoint import load_checkpoint
from tests.test_train_job import Launch, arguments, data, free_port, launches, wait_until, with_pid

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


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cut_off(launch: Launch) -> None:
    """Ends an agent and its rank without a word, the agent first, as a power cut does."""
    pid = launch.process.pid
    ranks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, ranks)):
        with_pid(each, signal.SIGKILL)


def test_a_lost_machine_costs_the_steps_since_the_last_checkpoint(
    data: Path, tmp_path: Path, launches: list[Launch]
) -> None:
    out, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    words = arguments(data, out, epochs=10**6, resume=True, **OPTIONS)
    # Two agents on loopback stand for two machines; the first one holds the rendezvous, and stays.
    elastic = ("--nnodes=1:2", "--max_restarts=3", "--rdzv_backend=c10d", "--rdzv_id=test", "--local_addr=127.0.0.1")
    port = free_port()
    endpoint = f"--rdzv_endpoint=127.0.0.1:{port}"
    waits = "--rdzv_conf=last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=2"
    stays = Launch(words, ranks=1, torchrun=(*elastic, endpoint, waits))
    launches.append(stays)
    wait_until(lambda: listens(port), "the rendezvous")
    dies = Launch(words, ranks=1, torchrun=(*elastic, endpoint, waits))
    launches.append(dies)

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
