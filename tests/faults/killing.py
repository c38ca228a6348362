"""One conversion, begun again after each kill until it ends."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from imagefeed.pipeline.files.atomic import TEMPORARY_PREFIX
from tests.support.processes import name_of, send

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0  # seconds for a run that nobody kills, and for its first shard
SETTLING = 90.0  # seconds for the processes of a killed driver to end by themselves; Ray's agents take a minute
MOST_DELAY = 1.0  # seconds from the first shard begun to the kill
Runner = Literal["processes", "ray"]
Victim = Literal["driver", "process", "raylet", "all"]  # the driver, one of the others, Ray's node, the whole machine
VICTIMS: dict[Runner, tuple[Victim, ...]] = {
    "processes": ("driver", "process", "all"),
    "ray": ("driver", "process", "raylet", "all"),
}


def command(runner: Runner, source: Path, out: Path) -> list[str]:
    """The conversion, in both formats and in shards of a few images."""
    options = ["--format", "both", "--shard-size", "7"]
    if runner == "ray":
        return [sys.executable, "jobs/shard.py", "--source", str(source), "--out", str(out), *options]
    return [sys.executable, "-m", "imagefeed", "convert", str(source), str(out), "--workers", "2", *options]


def session(leader: int) -> list[int]:
    """The processes of the session that `leader` began, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended
            continue
        if int(number) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def kill(processes: list[int]) -> None:
    """Ends processes at once; those that have ended are passed over."""
    for process in processes:
        send(process, signal.SIGKILL)


def begun(out: Path) -> bool:
    """Whether a shard is being written."""
    return next(out.rglob(f"{TEMPORARY_PREFIX}*shard*"), None) is not None


def attempt(runner: Runner, source: Path, out: Path, victim: Victim, chance: random.Random) -> str:
    """Runs the conversion and kills `victim` at a random moment; says how it ended: "done", "killed" or "failed".

    Raises `AssertionError` where a process outlives its driver, or the conversion hangs.
    """
    run = subprocess.Popen(
        command(runner, source, out),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while run.poll() is None and not begun(out):
            assert time.monotonic() < deadline, "no shard was begun"
            time.sleep(0.002)
        time.sleep(chance.uniform(0, MOST_DELAY))
        others = [each for each in session(run.pid) if each != run.pid]
        if victim == "driver":
            kill([run.pid])
        elif victim == "all":
            kill([run.pid, *others])
        elif victim == "raylet":
            kill([each for each in others if name_of(each) == "raylet"])
        else:
            kill(chance.sample(others, min(1, len(others))))
        status = run.wait(timeout=PATIENCE)
        settled = time.monotonic() + SETTLING
        while session(run.pid):
            left = {each: name_of(each) for each in session(run.pid)}
            assert time.monotonic() < settled, f"processes outlive the conversion ({victim} killed): {left}"
            time.sleep(0.05)
    finally:
        kill(session(run.pid))
        run.wait()
    return "done" if status == 0 else "killed" if status == -signal.SIGKILL else "failed"


def converted(runner: Runner, source: Path, out: Path, kills: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Converts under `kills` kills at most, then without; yields each victim and how that run ended."""
    for _ in range(kills):
        victim = chance.choice(VICTIMS[runner])
        end = attempt(runner, source, out, victim, chance)
        yield victim, end
        if end == "done":
            return
    subprocess.run(
        command(runner, source, out),
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
        start_new_session=True,
    )
