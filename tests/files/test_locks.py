"""Locks between real processes: one at a time, any number that share, and none left of a process that is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagefeed.pipeline.files import lease
from imagefeed.pipeline.files.lease import lease_here
from imagefeed.pipeline.files.locks import exclusive, exclusive_in_turn, try_lock, wait_lock

ROOT = Path(__file__).resolve().parents[2]
PATIENT = 1000.0  # beats: on a busy machine a sign of life may be seconds late, and its holder is not dead
HOLDER = """
import sys
from pathlib import Path
from imagefeed.pipeline.files.locks import exclusive, wait_lock
if sys.argv[2] == "exclusive":
    with exclusive(Path(sys.argv[1]), "taken"):
        print("held", flush=True)
        sys.stdin.read()
        Path(sys.argv[1] + ".left").touch()
else:
    with open(sys.argv[1]) as file:
        wait_lock(file, shared=True)
        print("held", flush=True)
        sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path, kind: str = "exclusive") -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that holds the lock on `path` until the block ends, or its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, str(path), kind]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(params=["file", "folder"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A lock file that is not there yet, or a folder."""
    return tmp_path / "lock" if request.param == "file" else tmp_path


def test_one_holds_it_at_a_time_and_the_next_after_a_kill(path: Path) -> None:
    with held_elsewhere(path) as other:
        with pytest.raises(RuntimeError, match=r"^taken by another$"), exclusive(path, "taken by another"):
            raise AssertionError
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with exclusive(path, "taken by another"):
            pass


def test_it_is_let_go_of_at_the_end_of_the_block_and_after_an_error(path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), exclusive(path, "taken"):
            with pytest.raises(RuntimeError, match="taken"), exclusive(path, "taken"):
                raise AssertionError
            raise KeyError


def test_patience_waits_for_the_end_of_the_other(path: Path) -> None:
    with held_elsewhere(path) as other:
        assert other.stdin is not None
        threading.Timer(0.3, other.stdin.close).start()
        with exclusive(path, "taken", patience=30):
            assert path.with_name(f"{path.name}.left").exists()


def test_a_turn_comes_when_the_other_has_ended_and_the_wait_is_said(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with exclusive_in_turn(path, "waiting for the other"):
        pass
    assert capsys.readouterr().err == ""
    with held_elsewhere(path) as other:
        assert other.stdin is not None
        threading.Timer(0.3, other.stdin.close).start()
        with exclusive_in_turn(path, "waiting for the other"):
            assert path.with_name(f"{path.name}.left").exists()
    assert capsys.readouterr().err == "waiting for the other\n"


def test_many_share_it_and_nobody_has_it_alone_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with held_elsewhere(path, "shared") as one, held_elsewhere(path, "shared") as other, path.open("r+") as file:
        assert try_lock(file, shared=True)
        assert not try_lock(file)
        one.kill()
        one.wait()
        assert not try_lock(file)
        other.kill()
        other.wait()
        assert try_lock(file)
        with path.open("r+") as again:
            assert not try_lock(again, shared=True)
            wait_lock(file, shared=True)  # what was exclusive is now shared
            assert try_lock(again, shared=True)


def test_the_file_that_is_locked_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1234")
    with exclusive(tmp_path / "lock", "taken"), exclusive_in_turn(tmp_path / "other", ""):
        assert (tmp_path / "lock").read_text() == "1234"
    assert (tmp_path / "other").exists()


def test_signs_of_life_stand_for_a_lock_where_there_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems without flock; `tests/faults` has those."""
    monkeypatch.setattr(lease, "BEAT", 0.1)
    with monkeypatch.context() as patient, lease_here(path, "taken by another", 0.0) as check:
        patient.setattr(lease, "SILENCE", PATIENT)
        with pytest.raises(RuntimeError, match=r"^taken by another$"), lease_here(path, "taken by another", 0.0):
            raise AssertionError
        check()
    folder = path.with_name(f".{path.name}.lease")
    assert not folder.exists()
    folder.mkdir()
    (folder / "1").touch()  # of a holder that is dead
    with lease_here(path, "taken", 0.0):
        assert sorted(each.name for each in folder.iterdir()) == ["1", "2"]


def test_signs_of_life_end_where_another_has_taken_the_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    with lease_here(path, "taken", 0.0) as check:
        (path.with_name(f".{path.name}.lease") / "7").touch()
        deadline = time.monotonic() + 60
        with pytest.raises(RuntimeError, match="another process has taken .* see that only one runs"):
            while time.monotonic() < deadline:
                check()
                time.sleep(0.05)


def test_a_turn_comes_also_by_signs_of_life(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "SILENCE", PATIENT)
    order = []

    def hold(number: int) -> None:
        with lease_here(path, "", 100):
            order.append(number)
            time.sleep(0.3)
            order.append(number)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order) == [0, 0, 1, 1, 2, 2] and order[::2] == order[1::2]
