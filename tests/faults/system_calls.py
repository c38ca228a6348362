"""Works under system calls that fail, asked for from a program that never imports what they need."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("failing.c")
LEAVE_NOTHING = ("verify", "load", "processes", "transform")  # works after which there is nothing to go on with
# One of these is in every message: what a user can do.
CURES = (
    *("run again", "right to it", "raise ", "another folder", "folder on another disk", "can be written to"),
    *("IMAGEFEED_HOME", "end what"),
)
# (work, folder for what it writes, faults one after another) -> what became of each, and what the terminal has shown
Ask = Callable[[str, Path, list[str]], tuple[list[dict[str, Any]], str]]


def build_library(folder: Path) -> Path:
    """Builds `failing.c`. Raises `FileNotFoundError` where there is no C compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "g++", "clang"))), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler is here, which makes calls fail: ./run setup installs one")
    path = folder / "failing.so"
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-O1", "-o", path, SOURCE, "-ldl"], check=True)
    return path


@contextmanager
def started(library: Path, given: Path) -> Iterator[Ask]:
    """Yields what does works on inputs that are made in `given`. A fault is written as `failing.c` takes it, "" for
    none."""
    environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.works", str(given)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def ask(work: str, out: Path, faults: list[str]) -> tuple[list[dict[str, Any]], str]:
            request = {"work": work, "given": str(given), "out": str(out), "faults": faults}
            print(json.dumps(request), file=requests, flush=True)
            answer = json.loads(answers.readline())
            return answer["answers"], answer["said"]

        yield ask
        requests.close()
