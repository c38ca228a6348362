"""Files that are read here and there: few of them are open, and each is looked at when it is opened."""

import os
from pathlib import Path

import pytest

from imagefeed.pipeline.files.open_files import MOST, OpenFiles


def test_few_are_open_and_the_one_used_longest_ago_is_closed(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(number)) for number in range(MOST + 4)]
    for path in paths:
        Path(path).write_text(path)
    before, opened = len(os.listdir("/proc/self/fd")), []
    with OpenFiles(lambda path, descriptor: opened.append(path)) as files:
        for path in [*paths, paths[-1], paths[-MOST], paths[0]]:
            assert os.pread(files.descriptor(path), 1000, 0).decode() == path
            assert len(os.listdir("/proc/self/fd")) <= before + MOST
    assert opened == [*paths, paths[0]]
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    with OpenFiles() as files, pytest.raises(FileNotFoundError, match=f"{tmp_path}/lost cannot be read"):
        files.descriptor(str(tmp_path / "lost"))
