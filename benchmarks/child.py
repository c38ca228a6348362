"""One contender in a process of its own: `python -m benchmarks.child NAME` obeys lines of JSON on standard input.

{"open": work, "key": key} builds, {"epoch": key} runs one epoch and answers with its images and seconds. So contenders
alternate within a run and none meets another's threads, compiled types or settings.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contenders import Epoch, Work

PATIENCE = 10.0  # seconds that a contender gets to end


class Failed(Exception):
    """What a contender could not do, in one line."""


class Child:
    """A contender's process, seen from the harness. All that it starts is in its session, and ends with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.child", name]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def open(self, key: str, work: Work) -> None:
        """Builds the contender for `work`, to be called `key`."""
        self._ask({"open": asdict(work) | {"data": str(work.data)}, "key": key})

    def epoch(self, key: str) -> tuple[int, float]:
        """Runs an epoch: images and seconds."""
        answer = self._ask({"epoch": key})
        return answer["images"], answer["seconds"]

    def cpu_seconds(self) -> float:
        """Of the contender and all its workers, so far."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self._process.pid:  # its session
                    ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends the contender and what it has started."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed("its process died")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


def missing(name: str) -> str | None:
    """Why contender `name` cannot run here; None where it can."""
    package = import_module(f"benchmarks.contenders.{name}").PACKAGE
    try:
        version(package)
    except PackageNotFoundError:
        return f"{package} is not installed"
    return None


def main(name: str) -> None:
    """In the child: obeys until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # contenders talk
    epochs: dict[str, Epoch] = {}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = obey(name, order, epochs)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"}
        answers.write(json.dumps(answer) + "\n")


def obey(name: str, order: dict[str, Any], epochs: dict[str, Epoch]) -> dict[str, Any]:
    """Carries out one order; returns its answer."""
    if "open" in order:
        work = Work(**order["open"] | {"data": Path(order["open"]["data"])})
        epochs[order["key"]] = import_module(f"benchmarks.contenders.{name}").open(work)
        return {}
    start = time.perf_counter()
    images = epochs[order["epoch"]]()
    return {"images": images, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main(sys.argv[1])
