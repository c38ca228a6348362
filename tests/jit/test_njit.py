"""Compiled code is found again by the next process, and not after a change of any function that went into it."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from imagefeed.pipeline.jit.njit import Index

PACKAGE = Path(__file__).resolve().parents[2] / "pipeline"
INNER = "from imagefeed.pipeline.jit.njit import njit\n\n@njit\ndef inner():\n    return 1\n"
OUTER = (
    "from imagefeed.pipeline.jit.njit import njit\n"
    "from imagefeed.pipeline.kernel.inner import inner\n\n@njit\ndef outer():\n    return inner()\n"
)
CALL = "from imagefeed.pipeline.kernel.outer import outer; print(outer(), sum(outer.stats.cache_hits.values()))"


@pytest.mark.parametrize("place", ["beside the sources", "NUMBA_CACHE_DIR"])
def test_a_change_in_a_file_that_is_called_is_compiled(tmp_path: Path, place: str) -> None:
    package = tmp_path / "imagefeed" / "pipeline"
    kernels = package / "kernel"  # another room than that of `njit`
    for folder in (package / "jit", kernels):
        folder.mkdir(parents=True)
    shutil.copy(PACKAGE / "jit" / "njit.py", package / "jit")
    (kernels / "inner.py").write_text(INNER)
    (kernels / "outer.py").write_text(OUTER)
    environment = {"PYTHONPATH": str(tmp_path)}
    if place == "NUMBA_CACHE_DIR":
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")

    def call() -> str:
        command = [sys.executable, "-c", CALL]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert call() == "1 0\n"  # the result, and how often it was found on disk
    assert call() == "1 1\n"
    (kernels / "inner.py").write_text(INNER.replace("1", "2"))
    assert call() == "2 0\n"
    assert (tmp_path / "cache").exists() == (place == "NUMBA_CACHE_DIR")


def test_an_index_of_a_class_that_is_gone_is_outdated(tmp_path: Path) -> None:
    index = Index(str(tmp_path), "kernel", "stamp")
    gone = b"cimagefeed.pipeline.image.decoder\nNoSuchClass\n."  # how a pickle names a class
    (tmp_path / "kernel.nbi").write_bytes(pickle.dumps(numba.__version__) + gone)
    assert index.load(("a signature",)) is None
