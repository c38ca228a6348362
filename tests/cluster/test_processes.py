"""However a contained block ends, nothing that it started lives on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagefeed.jobs.cluster.processes import ENDING, descendants

ROOT = Path(__file__).resolve().parents[2]

# A child, a grandchild, a daemon in a session of its own whose parent is gone, and one deaf to every polite signal.
FAMILY = (
    "exec >/dev/null 2>&1; sleep 9999 & (setsid sleep 9999 &) ; (trap '' INT TERM HUP; sleep 9999) & exec sleep 9999"
)
PROGRAM = f"""
import os, sys, time
from imagefeed.jobs.cluster.processes import contained, start
try:
    with contained():
        start(["bash", "-c", {FAMILY!r}], os.environ, ".")
        time.sleep(0.5)
        print("ready", flush=True)
        sys.stdin.readline()
        {{ending}}
except KeyboardInterrupt:
    sys.exit(130)
"""


class Running:
    """A process with its contained family, five in all."""

    def __init__(self, ending: str = "pass", *, ignored: tuple[int, ...] = ()) -> None:
        def heed() -> None:  # also where the tests themselves run under nohup
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(ending=ending)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.family = descendants(self.process.pid)
        assert len(self.family) >= 4

    def ended(self) -> tuple[int, str]:
        """Status and errors of the process."""
        _, errors = self.process.communicate("\n", timeout=100)
        return self.process.returncode, errors

    def survivors(self) -> list[int]:
        return [process for process in self.family if Path(f"/proc/{process}").exists()]


def test_at_its_end() -> None:
    running = Running()
    assert running.ended() == (0, "")
    assert not running.survivors()


def test_at_an_error() -> None:
    running = Running("raise ValueError('the reason')")
    status, errors = running.ended()
    assert status == 1
    assert errors.endswith("ValueError: the reason\n")
    assert not running.survivors()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_at_a_signal(number: signal.Signals) -> None:
    running = Running()
    os.kill(running.process.pid, number)
    assert running.ended()[0] == 130
    assert not running.survivors()


def test_impatience_does_not_leave_the_work_half_done() -> None:
    running = Running()
    for _ in range(20):
        os.kill(running.process.pid, signal.SIGINT)
        time.sleep(0.002)
    running.ended()
    assert not running.survivors()


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup, where the terminal may close."""
    running = Running(ignored=(signal.SIGHUP,))
    os.kill(running.process.pid, signal.SIGHUP)
    time.sleep(0.2)
    assert running.process.poll() is None
    assert running.ended() == (0, "")
    assert not running.survivors()


def test_killed_outright_it_takes_its_children_along() -> None:
    """The kernel tells them to end, and no more than that can be done: the deaf and the daemon live on."""
    running = Running()
    os.kill(running.process.pid, signal.SIGKILL)
    running.ended()
    child = running.family[0]
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = running.survivors()
    for process in alive:
        os.kill(process, signal.SIGKILL)
    assert child not in alive
