"""The GPU benchmarks run as toys, in Triton's interpreter: each contender gives its row."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.failures import why

# Benchmark -> (how many letters of a row say the case, then its contender; contender -> rows).
ROWS = {
    "lrn": (45, 67, {"ours": 4, "ours, pooled by torch": 2, "torch": 4, "torch, compiled": 4}),
    "step": (
        0,
        38,
        dict.fromkeys(
            (
                "imagefeed, paper, bf16",
                "torchvision, fp32",
                "torchvision, TF32",
                "torchvision, autocast",
                "torchvision, compiled, channels last",
            ),
            1,
        ),
    ),
    "feed": (
        0,
        32,
        dict.fromkeys(
            (
                "fp32 copied",
                "fp16 copied",
                "uint8 copied",
                "uint8 copied, finished to fp16",
                "uint8 copied, finished to fp32",
            ),
            1,
        ),
    ),
}


@pytest.mark.parametrize("script", ROWS)
def test_a_toy_of_it_runs(script: str) -> None:
    pytest.importorskip("triton", reason="Triton is for Linux")
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.gpu.{script}", "--toy"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.fail(why(done), pytrace=False)
    begin, end, expected = ROWS[script]
    _, _, *rows = done.stdout.splitlines()  # first what it ran on, and the names of the columns
    names = [row[begin:end].strip() for row in rows]
    assert {name: names.count(name) for name in names} == expected
    assert all(re.search(r"\d", row[end:]) for row in rows)
