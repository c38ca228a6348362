"""The local Ray head: on loopback, behind its token, found by what it prints, and gone when it is stopped."""

import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagefeed.jobs.cluster.local import answers, free_ports, keeper
from imagefeed.jobs.cluster.processes import descendants
from tests.convert.test_convert import contents
from tests.support.cluster import LOOPBACK, another_node, beside_no_other, cluster, exported
from tests.support.processes import alive, listening, name_of, open_files, send

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The home of a running cluster, and what it printed."""
    home = tmp_path_factory.mktemp("home")
    try:
        yield home, exported(cluster("start", home).stdout)
    finally:
        cluster("stop", home)


def test_the_token_is_secret_and_needed(running: tuple[Path, dict[str, str]]) -> None:
    _, settings = running
    token = Path(settings["RAY_AUTH_TOKEN_PATH"])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64
    assert token.read_text() not in str(settings)
    jobs = settings["RAY_API_SERVER_ADDRESS"] + "/api/jobs/"
    assert answers(jobs, token.read_text())
    assert not answers(jobs, "0" * 64)
    with pytest.raises(urllib.error.HTTPError, match="401") as error, urllib.request.urlopen(jobs):
        pass
    error.value.close()


def test_a_submitted_job_runs_in_the_checkout(running: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """Given nothing but what was printed; from anywhere."""
    program = "import os, sys; print(os.getcwd(), sys.executable)"
    submit = ["ray", "job", "submit", "--", "python", "-c", program]
    done = subprocess.run(submit, cwd=tmp_path, env=running[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"\n{ROOT} {sys.executable}\n" in done.stdout


AT_WORK = """
import time
from imagefeed.jobs.cluster.connect import connected
from imagefeed.pipeline.runtime.command import run_command

def work():
    with connected():
        print("at work", flush=True)
        time.sleep(100)

run_command(work)
"""


def test_the_last_line_of_a_stopped_job_says_how_to_go_on(running: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    def ray_job(*words: str) -> str:
        command = ["ray", "job", *words]
        done = subprocess.run(command, cwd=tmp_path, env=running[1], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    ray_job("submit", "--no-wait", "--submission-id", "stopped", "--", "python", "-c", AT_WORK)
    deadline = time.monotonic() + 60
    while "at work" not in ray_job("logs", "stopped"):
        assert time.monotonic() < deadline
    ray_job("stop", "stopped")
    said = ray_job("logs", "stopped").splitlines()
    assert "interrupted: the same command goes on where this one stopped" in said, said
    assert not [line for line in said if "SIGTERM received" in line]


def shard_of(worker: int) -> str | None:
    """The unfinished file of the shard that a process writes."""
    return next((file for file in open_files(worker) if "/.tmp-" in file and "shard-" in file), None)


def stop_in_the_middle(raylet: int) -> list[int]:
    """The workers of a node that have begun a shard, halted there."""
    halted = []
    for worker in descendants(raylet):
        if shard_of(worker):
            send(worker, signal.SIGSTOP)
            if shard_of(worker):
                halted.append(worker)
            else:
                send(worker, signal.SIGCONT)
    return halted


def halt_one_of_each(nodes: list[int], job: "subprocess.Popen[str]") -> dict[int, list[int]]:
    """Waits until each node has a worker within a shard, and halts it there: node -> its halted workers."""
    halted: dict[int, list[int]] = {node: [] for node in nodes}
    deadline = time.monotonic() + 90
    while not all(halted.values()):
        assert job.poll() is None, "the job ended before both nodes were at work"
        assert time.monotonic() < deadline, f"not both nodes came to work: {halted}"
        for node, workers in halted.items():
            workers += stop_in_the_middle(node)
    return halted


STANDS_STILL = """
import os, sys, time
from pathlib import Path
import imagefeed.jobs.cluster.work as work
from imagefeed.jobs.cluster.connect import connected

def make(task):  # its process is named in the folder; it ends when `go` is there
    folder, number = task
    Path(folder, str(os.getpid())).touch()
    while not Path(folder, "go").exists():
        time.sleep(0.01)
    return number

work.PATIENCE = 8
with connected():
    print(sorted(work.on_ray(make, [(sys.argv[1], number) for number in range(6)])))
"""


def test_a_job_on_two_nodes_loses_one_of_them_in_the_middle_of_a_shard(
    running: tuple[Path, dict[str, str]], images: Path, shards: Path, tmp_path: Path
) -> None:
    """A worker of each is halted within a shard; then the second node is killed, and the first goes on alone."""
    process = keeper(running[0] / "cluster")
    assert process is not None
    (head,) = (each for each in descendants(process) if name_of(each) == "raylet")
    environment = beside_no_other(running[1])
    options = ["--source", str(images), "--out", str(tmp_path), "--format", "both", "--shard-size", "7"]
    submit = ["ray", "job", "submit", "--", "python", "jobs/shard.py", *options]
    with another_node(environment) as raylet:
        with subprocess.Popen(
            submit, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as job:
            try:
                halted = halt_one_of_each([head, raylet], job)
                for member in [raylet, *descendants(raylet)]:
                    send(member, signal.SIGKILL)
                for worker in halted[head]:
                    send(worker, signal.SIGCONT)
                said, _ = job.communicate(timeout=120)
            finally:
                job.kill()
        assert job.returncode == 0, said
    assert contents(tmp_path) == contents(shards)


def test_a_worker_that_stands_still_on_a_dead_node_is_not_waited_for(
    running: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """Its node's raylet is killed, and it is not: of its task nothing more is heard."""
    environment = beside_no_other(running[1])
    with another_node(environment) as raylet:
        with subprocess.Popen(
            [sys.executable, "-c", STANDS_STILL, tmp_path], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as driver:  # fmt: skip
            try:
                deadline = time.monotonic() + 60
                while not (theirs := [each for each in descendants(raylet) if (tmp_path / str(each)).exists()]):
                    assert driver.poll() is None and time.monotonic() < deadline, "the second node has got no task"
                    time.sleep(0.05)
                send(theirs[0], signal.SIGSTOP)
                send(raylet, signal.SIGKILL)
                (tmp_path / "go").touch()
                said, errors = driver.communicate(timeout=90)
            finally:
                driver.kill()
                send(theirs[0], signal.SIGKILL)
    assert "[0, 1, 2, 3, 4, 5]" in said.splitlines(), errors  # Ray itself may have seen it in time


def test_a_job_works_where_ray_address_says(
    running: tuple[Path, dict[str, str]], images: Path, checkpoint: Path, shards: Path, tmp_path: Path
) -> None:
    """From any folder, and whatever $RAY_ADDRESS is."""
    address = running[1]["RAY_ADDRESS"]

    def run(script: str, address: str, elsewhere: str, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(ROOT / "jobs" / script), "--ray-address", address, *options]
        environment = beside_no_other(running[1]) | {"RAY_ADDRESS": elsewhere}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=110
        )

    done = run("shard.py", address, "nowhere", "--source", str(images), "--out", str(tmp_path / "out"), "--limit", "3")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "val" / "manifest.json").exists()
    options = ["--checkpoint", str(checkpoint), "--data", str(shards / "tar"), "--out", str(tmp_path), "--other-data"]
    refused = run("evaluate.py", "nowhere", address, *options)
    assert refused.stderr.endswith("error: Invalid address format: nowhere\n"), refused.stderr


def test_nothing_listens_beyond_loopback(running: tuple[Path, dict[str, str]]) -> None:
    """After a job, when all parts of the head are up."""
    process = keeper(running[0] / "cluster")
    assert process is not None
    sockets = listening(descendants(process))
    assert set(sockets) <= LOOPBACK
    assert len(sockets) > 4


def test_a_second_start_finds_the_first(running: tuple[Path, dict[str, str]]) -> None:
    home, settings = running
    before = keeper(home / "cluster")
    assert exported(cluster("start", home).stdout) == settings
    assert keeper(home / "cluster") == before


def test_stop_ends_it_all_and_just_that(running: tuple[Path, dict[str, str]]) -> None:
    home, settings = running
    process = keeper(home / "cluster")
    assert process is not None
    family = descendants(process)
    folder = Path(settings["RAY_AUTH_TOKEN_PATH"]).parent
    assert folder.exists()
    assert cluster("stop", home / "another").stderr == "no cluster of this folder runs\n"
    assert keeper(home / "cluster") == process
    stopped = cluster("stop", home)
    assert stopped.stderr == "the cluster has ended\n"
    shell = f"{stopped.stdout}\nenv"  # one that had made the settings its own, as eval does
    left = subprocess.run(["bash", "-c", shell], env=settings, capture_output=True, text=True, check=True).stdout
    assert "PATH=" in left and "RAY_" not in left
    deadline = time.monotonic() + 5  # the keeper itself lets go of its lock just before its own end
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [member for member in [process, *family] if alive(member)]
    assert not folder.exists()
    assert not (home / "cluster" / "environment").exists()
    again = cluster("stop", home)
    assert (again.stderr, again.stdout) == ("no cluster of this folder runs\n", stopped.stdout)


def test_a_head_that_does_not_come_up_is_explained(tmp_path: Path) -> None:
    program = (
        "import imagefeed.jobs.cluster.local as c; from imagefeed.jobs.cluster.processes import start\n"
        "c.start = lambda command, *rest: start(['sh', '-c', 'echo no room; exit 1'], *rest)\n"
        "with c.local_cluster(): pass"
    )
    failed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert failed.stderr.endswith("RuntimeError: Ray did not start; its last words:\nno room\n\n")


def test_ports_differ() -> None:
    assert len(set(free_ports(50))) == 50
