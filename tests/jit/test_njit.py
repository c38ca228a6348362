"""Compiled code is found again by the next process, and not after a change of any function that went into it."""

import fcntl
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numba
import pytest

from imagefeed.pipeline.jit import turns
from imagefeed.pipeline.jit.code_cache import Index
from tests.support.compiling import apart_from_compiling

PACKAGE = Path(__file__).resolve().parents[2] / "pipeline"
INNER = "from imagefeed.pipeline.jit.njit import njit\n\n@njit\ndef inner():\n    return 1\n"
OUTER = (
    "from imagefeed.pipeline.jit.njit import njit\n"
    "from imagefeed.pipeline.kernel.inner import inner\n\n@njit\ndef outer():\n    return inner()\n"
)
CALL = "from imagefeed.pipeline.kernel.outer import outer; print(outer(), sum(outer.stats.cache_hits.values()))"


HOME = ".cache/imagefeed/compiled"


class Checkout:
    """A package like this one, of two compiled functions."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.environment = root, {"PYTHONPATH": str(root), "HOME": str(home)}
        package = root / "imagefeed" / "pipeline"
        self.kernels = package / "kernel"  # another room than that of `njit`
        for folder in (package / "jit", self.kernels):
            folder.mkdir(parents=True)
        for name in ("code_cache.py", "njit.py", "parts.py", "turns.py"):
            shutil.copy(PACKAGE / "jit" / name, package / "jit")
        (self.kernels / "inner.py").write_text(INNER)
        (self.kernels / "outer.py").write_text(OUTER)

    def start(self, program: str, **environment: str) -> subprocess.Popen[str]:
        """A process that runs a program here."""
        return subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=self.root,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What it says."""
        with self.start(program, **environment) as process:
            out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        return subprocess.CompletedProcess(program, 0, out, err)

    def call(self, **environment: str) -> str:
        """The result, and how often it was found on disk."""
        return self.run(CALL, **environment).stdout.strip()


@pytest.mark.parametrize("place", ["the user's cache", "beside the sources", "NUMBA_CACHE_DIR"])
def test_a_change_in_a_file_that_is_called_is_compiled(tmp_path: Path, place: str) -> None:
    home = tmp_path / "home"
    checkout = Checkout(tmp_path / "checkout", Path(os.devnull) if place == "beside the sources" else home)
    named = {"NUMBA_CACHE_DIR": str(tmp_path / "named")} if place == "NUMBA_CACHE_DIR" else {}
    assert [checkout.call(**named) for _ in range(2)] == ["1 0", "1 1"]
    (checkout.kernels / "inner.py").write_text(INNER.replace("1", "2"))
    assert [checkout.call(**named) for _ in range(2)] == ["2 0", "2 1"]
    folders = {
        "the user's cache": home / HOME,
        "beside the sources": checkout.kernels / "__pycache__",
        "NUMBA_CACHE_DIR": tmp_path / "named",
    }
    assert [where for where, folder in folders.items() if any(folder.rglob("*.nbi"))] == [place]


def test_another_checkout_finds_what_the_first_has_compiled(tmp_path: Path) -> None:
    first, second = (Checkout(tmp_path / name, tmp_path / "home") for name in ("first", "second"))
    assert first.call() == "1 0" and second.call() == "1 1"
    assert second.call(NUMBA_BOUNDSCHECK="1") == "1 0"  # other code
    assert second.call(NUMBA_OPT="1") == "1 0"
    assert first.call() == "1 1"
    (second.kernels / "inner.py").write_text(INNER.replace("1", "2"))
    assert second.call() == "2 0" and first.call() == "1 1"  # side by side


def test_what_nobody_used_for_a_month_goes(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", tmp_path / "home")
    place = tmp_path / "home" / HOME
    old, young = place / "old", place / "young"
    for folder, days in ((old, 31), (young, 29)):
        (folder / "kernel").mkdir(parents=True)
        os.utime(folder, (0, time.time() - days * 24 * 3600))
    assert checkout.call() == "1 0"
    assert young.exists() and not old.exists()
    (mine,) = set(place.iterdir()) - {young}
    os.utime(mine, (0, 0))
    assert checkout.call() == "1 1"
    assert mine.stat().st_mtime > time.time() - 3600  # it was used


def test_an_index_of_a_class_that_is_gone_is_outdated(tmp_path: Path) -> None:
    index = Index(str(tmp_path), "kernel", "stamp")
    gone = b"cimagefeed.pipeline.image.decoder\nNoSuchClass\n."  # how a pickle names a class
    (tmp_path / "kernel.nbi").write_bytes(pickle.dumps(numba.__version__) + gone)
    assert index.load(("a signature",)) is None


def test_what_was_cut_short_is_compiled_again(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", tmp_path / "home")
    assert checkout.call() == "1 0"
    for suffix, left in product((".nbi", ".nbc"), (0, 20)):  # each time all is whole again
        (file,) = (tmp_path / "home" / HOME).rglob(f"*{suffix}")
        os.truncate(file, left)
        assert [checkout.call() for _ in range(2)] == ["1 0", "1 1"], (suffix, left)


def test_a_full_disk_is_no_reason_to_stop(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", tmp_path / "home")
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    done = checkout.run(full + CALL)
    assert done.stdout == "1 0\n"
    assert f"compiled code cannot be kept in {tmp_path / 'home' / HOME}" in done.stderr
    said = apart_from_compiling(done.stderr)
    assert "name another folder in NUMBA_CACHE_DIR" in said and len(said.splitlines()) == 1
    assert checkout.call() == "1 0"  # nothing half-written is taken for code


def test_without_any_place_each_process_compiles(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", Path(os.devnull))
    nowhere = (
        "from numba.core import caching; from imagefeed.pipeline.jit import code_cache; "
        "caching.CacheImpl._locator_classes[:] = []; from imagefeed.pipeline.kernel.outer import outer; print(outer())"
    )
    done = checkout.run(nowhere)
    assert done.stdout == "1\n" and "compiled code cannot be kept anywhere" in done.stderr


def test_one_process_compiles_and_the_others_wait_and_say_so(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", tmp_path / "home")
    checkout.call()
    (index,) = (tmp_path / "home" / HOME).rglob("*.nbi")
    index.unlink()
    with open(index.parent / "outer.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with checkout.start(CALL) as process:
            try:
                assert process.stderr is not None and process.stdout is not None
                said = process.stderr.readline()
                assert said == "waiting for another process, which compiles outer for this machine\n"
                assert not index.exists()
                fcntl.flock(lock, fcntl.LOCK_UN)
                assert process.stdout.read() == "1 0\n"
                assert process.stderr.readline().startswith("outer was compiled by another process in ")
            finally:
                process.kill()


def test_what_takes_long_is_said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SILENCE", 0.05)
    with turns.announced("compiling a kernel", "compiled it"):
        pass
    assert capfd.readouterr().err == ""
    with turns.announced("compiling a kernel", "compiled it"):
        time.sleep(0.5)
    first, second = capfd.readouterr().err.splitlines()
    assert first == "compiling a kernel" and re.fullmatch(r"compiled it in \d+ s", second)


def test_only_compiling_is_announced_and_not_reading_what_is_there(tmp_path: Path) -> None:
    """However long that takes."""
    checkout = Checkout(tmp_path / "a", tmp_path / "home")
    program = "from imagefeed.pipeline.jit import turns; turns.SILENCE = 0.0; " + CALL
    first, second = (checkout.run(program) for _ in range(2))
    assert "compiling outer for this machine" in first.stderr and "compiled outer in" in first.stderr
    assert second.stdout == "1 1\n" and second.stderr == ""


def test_functions_of_other_packages_are_not_kept(tmp_path: Path) -> None:
    """Else they would go on with what they were compiled with here."""
    checkout = Checkout(tmp_path / "a", tmp_path / "home")
    other = checkout.root / "other.py"
    other.write_text(OUTER.replace("outer", "mine") + "print(mine())\n")
    assert checkout.run("import other").stdout == "1\n"
    (checkout.kernels / "inner.py").write_text(INNER.replace("return 1", "return 2"))
    assert checkout.run("import other").stdout == "2\n"
