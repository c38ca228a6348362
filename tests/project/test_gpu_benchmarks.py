"""The GPU benchmarks run as toys, in Triton's interpreter: each contender gives its row."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("script", "rows"), [("lrn", 14), ("step", 5), ("feed", 5)])
def test_a_toy_of_it_runs(script: str, rows: int) -> None:
    pytest.importorskip("triton", reason="Triton is for Linux")
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.gpu.{script}", "--toy"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2 + rows
