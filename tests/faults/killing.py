"""One conversion, begun again after each kill until it ends: in processes or on Ray, from a folder or from a store."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal, NamedTuple

import fsspec

from imagefeed.pipeline.files.object_store import is_url
from tests.convert.test_convert import contents
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
# The command, with a store's holder counted as dead after two seconds without a sign of life in place of 45.
PROGRAM = """
import sys
import imagefeed.pipeline.files.lease as lease
lease.BEAT = 0.5
if sys.argv[1] == "convert":
    from imagefeed.jobs.cli.main import main
    main()
else:
    import runpy
    runpy.run_path("jobs/shard.py", run_name="__main__")
"""


class Conversion(NamedTuple):
    """Where it runs, what it reads and writes (paths, or URLs of a store), and a folder for what it needs meanwhile."""

    runner: Runner
    source: str
    out: str
    scratch: Path

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts it: in both formats, and in shards of a few images."""
        words = {
            "processes": ["convert", self.source, self.out, "--workers", "2"],
            "ray": ["--source", self.source, "--out", self.out],
        }
        options = ["--format", "both", "--shard-size", "7"]
        with (self.scratch / "terminal").open("w") as terminal:
            return subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words[self.runner], *options],
                cwd=ROOT,
                env=os.environ | {"TMPDIR": str(self.scratch)},
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=terminal,
            )

    def begun(self) -> bool:
        """Whether a shard is being written."""
        if is_url(self.out):
            return next(self.scratch.glob("imagefeed-*/*shard*"), None) is not None
        return next(Path(self.out).rglob(".tmp-*shard*"), None) is not None

    def said(self) -> str:
        """What the last run has shown on the terminal."""
        return (self.scratch / "terminal").read_text(errors="replace")

    def contents(self) -> dict[str, bytes]:
        """Every file below `out`, but locks."""
        if not is_url(self.out):
            return contents(Path(self.out))
        with tempfile.TemporaryDirectory() as folder:
            fsspec.filesystem("s3", skip_instance_cache=True).get(f"{self.out}/", folder, recursive=True)
            return contents(Path(folder))

    def attempt(self, victim: Victim, chance: random.Random) -> str:
        """Runs it and kills `victim` at a random moment; says how it ended: "done", "killed" or "failed".

        Raises `AssertionError` where a process outlives its driver, or the conversion hangs, or fails without a line
        that says why.
        """
        run = self.start()
        try:
            deadline = time.monotonic() + PATIENCE
            while run.poll() is None and not self.begun():
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
        end = "done" if status == 0 else "killed" if status == -signal.SIGKILL else "failed"
        said = self.said()
        assert "Traceback" not in said, said
        assert end != "failed" or "run the same again" in said.rpartition("\nerror: ")[2].lower(), said
        return end

    def finish(self) -> None:
        """Runs it to its end."""
        with self.start() as run:
            assert run.wait(timeout=PATIENCE) == 0, self.said()


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
