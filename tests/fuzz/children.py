"""Cases in child processes, a few hundred each: what a case does to its process is one result among others."""

import contextlib
import json
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from tests.fuzz.targets import Target

CRASH, HANG = "CRASH", "HANG"
MEMORY = 8 << 30  # bytes of address space beyond what the parent has: a hostile size must not take the machine


class Result(NamedTuple):
    """What became of one case."""

    number: int
    target: str
    mutation: str
    outcome: str
    message: str


def run(
    targets: Sequence[Target], seed: int, first: int, count: int, *, timeout: float, batch: int = 500
) -> Iterator[Result]:
    """Runs cases `first` to `first + count - 1`, in order; `timeout` is of one case, seconds."""
    for target in targets:
        target.warm_up()
    number = first
    while number < first + count:
        end = min(number + batch, first + count)
        for result in one_child(targets, seed, number, end, timeout):
            yield result
            number = result.number + 1
            if result.outcome in (CRASH, HANG):
                for target in targets:
                    target.restore()


def one_child(targets: Sequence[Target], seed: int, first: int, end: int, timeout: float) -> Iterator[Result]:
    """Cases `first` to `end - 1`, or up to the one that the child did not survive."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w", buffering=1) as pipe:
            work(targets, seed, first, end, pipe)
        os._exit(0)
    os.close(writing)
    ended, number = "", first
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            lines = b""
            while number < end and not ended:
                if not select.select([pipe], [], [], timeout)[0]:
                    os.kill(child, signal.SIGKILL)
                    ended = f"no answer for {timeout:g} s"
                elif not (data := pipe.read(1 << 16)):
                    ended = "the process died"
                else:
                    *whole, lines = (lines + data).split(b"\n")
                    for line in whole:
                        yield Result(*json.loads(line))
                        number += 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended:
        target = targets[number % len(targets)].name
        yield Result(number, target, "?", CRASH if "died" in ended else HANG, f"{ended}, exit status {status}")


def work(targets: Sequence[Target], seed: int, first: int, end: int, pipe: IO[str]) -> None:
    """In the child: runs the cases and writes one line of JSON each."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, end):
        target = targets[number % len(targets)]
        try:
            mutation, outcome, message = target.run(np.random.default_rng((seed, number)))
        except BaseException:
            mutation, outcome, message = "?", CRASH, traceback.format_exc()
        pipe.write(json.dumps([number, target.name, mutation, outcome, message[:2000]]) + "\n")
