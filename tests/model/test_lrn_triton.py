"""Runs `lrn_kernels.py` in Triton's interpreter, which needs no GPU, and on the GPU where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.failures import why


@pytest.mark.parametrize("interpret", ["1", "0"], ids=["in the interpreter", "on the GPU"])
def test_kernels(interpret: str) -> None:
    if interpret == "0" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    pytest.importorskip("triton", reason="Triton is for Linux")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            Path(__file__).with_name("lrn_kernels.py"),
        ],
        env=os.environ | {"TRITON_INTERPRET": interpret},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.fail(why(done), pytrace=False)
