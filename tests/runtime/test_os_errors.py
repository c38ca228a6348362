"""An error of the operating system says the path, what was being done and the cure, and stays what it was."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from imagefeed.pipeline.runtime.os_errors import doing, explained, one_line


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_any_number_keeps_its_kind_and_gets_path_action_and_cure(code: int) -> None:
    before = OSError(code, os.strerror(code))
    after = explained(before, "read", "/data/a.tar")
    assert type(after) is type(before) and after.errno == code
    what, cure = str(after).removeprefix(f"[Errno {code}] ").split("; ")
    assert what == f"/data/a.tar cannot be read: {os.strerror(code)}" and cure
    assert str(pickle.loads(pickle.dumps(after))) == str(after)  # noqa: S301 - as workers send it
    assert explained(after, "written", "/out") is after and one_line(after) == str(after)


def test_what_says_more_than_the_system_does_stays() -> None:
    for error in (OSError("no room"), OSError(errno.ENOSPC, "more than the cache can hold"), ConnectionError("gone")):
        assert explained(error, "read", "/data") is error and one_line(error) == str(error)


def test_another_path_and_the_words_of_arrow_are_kept() -> None:
    inner = OSError(errno.EACCES, os.strerror(errno.EACCES), "/out/.tmp-1")
    assert "/out/a cannot be written: Permission denied at /out/.tmp-1; " in str(explained(inner, "written", "/out/a"))
    arrow = OSError(errno.EIO, f"Error reading. Detail: [errno 5] {os.strerror(errno.EIO)}")
    assert "/data/t.parquet cannot be read: Input/output error; " in str(explained(arrow, "read", "/data/t.parquet"))


def test_an_open_file_is_named_by_its_descriptor_and_a_cure_can_be_given(tmp_path: Path) -> None:
    with (
        (tmp_path / "file").open("w") as file,
        pytest.raises(OSError, match=f"{tmp_path}/file cannot be read: .*; wait"),
    ):
        with doing("read", file.fileno(), "wait"):
            os.read(file.fileno(), 1)  # it is open for writing alone


def test_a_command_adds_the_cure_to_what_names_a_path_already(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        (tmp_path / "lost").read_bytes()
    assert one_line(raised.value) == f"{raised.value}; see that the path is right, and what it lies on mounted"
