"""Scripts that start workers: with a main guard, without one, and from standard input."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagefeed.pipeline.runtime.executors import processes

ROOT = Path(__file__).resolve().parents[2]
CALL = "print(sorted(processes(2)(abs, [-1, 2, -3])))"
IMPORT = "from imagefeed.pipeline.runtime.executors import processes\n"


def said(path: Path, text: str, *, stdin: bool = False) -> tuple[str, str]:
    """What a script says on standard output, and on standard error."""
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-"] if stdin else [sys.executable, str(path)],
        input=text if stdin else None,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=60,
    )
    return done.stdout, done.stderr


def test_a_guarded_script_runs_its_workers(tmp_path: Path) -> None:
    assert said(tmp_path / "s.py", f"{IMPORT}if __name__ == '__main__':\n    {CALL}\n") == ("[1, 2, 3]\n", "")


@pytest.mark.parametrize("stdin", [False, True])
def test_a_script_without_a_guard_gets_one_clear_line(stdin: bool, tmp_path: Path) -> None:
    text = f"{IMPORT}try:\n    {CALL}\nexcept RuntimeError as error:\n    print(error)\n"
    output, errors = said(tmp_path / "s.py", text, stdin=stdin)
    assert output.count("\n") == 1 and "if __name__ == '__main__'" in output and "one worker" in output
    assert errors == ""


def test_a_worker_that_is_killed_is_an_error_that_says_so() -> None:
    with pytest.raises(RuntimeError, match="a worker process has ended before its work was done"):
        list(processes(2)(os._exit, [0, 0, 0]))


def test_one_task_starts_no_process_and_few_start_few() -> None:
    """It takes a second to start one."""
    assert list(processes(4)(lambda task: (task, os.getpid()), ["only"])) == [("only", os.getpid())]
    before = set(multiprocessing.active_children())
    results = processes(9)(abs, [-1, -2])
    assert next(results) in (1, 2)
    assert len(set(multiprocessing.active_children()) - before) <= 2
    assert len(list(results)) == 1
