"""A process ends with its parent, also where that one is killed outright or has ended before it could ask."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import alive, send

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import time
from imagefeed.pipeline.runtime.parent import end_with_parent
end_with_parent({parent})
print("asked", flush=True)
time.sleep(600)
"""
PARENT = """
import subprocess, sys, time

child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
print(child.pid, flush=True)
{end}
"""
WORKERS = """
import os, time
from imagefeed.pipeline.runtime.executors import processes
def work(number):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece, beside the other one's
    time.sleep(600)
if __name__ == "__main__":
    list(processes(2)(work, range(4)))
"""


def has_ended(process: int) -> bool:
    """Whether a process ends within some seconds; one that nobody has waited for counts as ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not alive(process):
            return True
        time.sleep(0.02)
    send(process, signal.SIGKILL)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    child = CHILD.format(parent="")
    program = PARENT.format(end="print(child.stdout.readline(), flush=True); time.sleep(600)")
    with subprocess.Popen([sys.executable, "-c", program, child], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            process = int(parent.stdout.readline())
            assert b"asked" in parent.stdout.readline()
        finally:
            parent.kill()
    assert has_ended(process)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_a_child_ends_whose_parent_was_gone_before_it_asked() -> None:
    """It is told that this process started it, while another one has."""
    child = CHILD.format(parent=os.getpid())
    with subprocess.Popen([sys.executable, "-c", PARENT.format(end="child.wait()"), child], cwd=ROOT) as parent:
        assert parent.wait(timeout=60) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_workers_end_when_their_driver_is_killed(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORKERS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "work.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as driver:
        try:
            assert driver.stdout is not None
            workers = [int(driver.stdout.readline()) for _ in range(2)]
        finally:
            driver.kill()
    assert [has_ended(worker) for worker in workers] == [True, True]
