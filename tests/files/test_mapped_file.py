"""Mapped bytes are the file's, cost no descriptor, and are asked for before they are read."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from imagefeed.pipeline.files.mapped_file import MappedFile, page_to_ask, readable
from imagefeed.pipeline.jit.views import bytes_at


def content(path: Path, size: int) -> bytes:
    data = np.random.default_rng(size).bytes(size)
    path.write_bytes(data)
    return data


def test_a_map_holds_the_bytes_of_the_file_and_no_descriptor(tmp_path: Path) -> None:
    data = content(tmp_path / "a", 12_345)
    before = len(os.listdir("/proc/self/fd"))
    maps = [MappedFile(tmp_path / "a", 12_345) for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before
    for each in (maps[0], maps[49]):
        assert bytes_at(each.address, 12_345).tobytes() == data
        assert bytes_at(each.address + 100, 5).tobytes() == data[100:105]


def test_a_map_ends_with_its_object(tmp_path: Path) -> None:
    content(tmp_path / "a", 10_000)
    mapped = MappedFile(tmp_path / "a", 10_000)
    assert str(tmp_path / "a") in Path("/proc/self/maps").read_text()
    del mapped
    gc.collect()
    assert str(tmp_path / "a") not in Path("/proc/self/maps").read_text()


def test_what_a_file_lost_since_is_unreadable_rather_than_fatal(tmp_path: Path) -> None:
    content(tmp_path / "a", 40_000)
    mapped = MappedFile(tmp_path / "a", 40_000)
    page = page_to_ask()
    if page == 0:
        pytest.skip("this kernel cannot tell (Linux before 5.14)")
    assert readable(mapped.address, 40_000, page) and readable(mapped.address + 39_999, 1, page)
    os.truncate(tmp_path / "a", 5_000)
    assert readable(mapped.address + 4_000, 1_000, page)
    assert not readable(mapped.address, 40_000, page)
    assert not readable(mapped.address + 30_000, 10, page)


def test_another_size_than_expected_is_refused(tmp_path: Path) -> None:
    content(tmp_path / "a", 100)
    with pytest.raises(ValueError, match="a has 100 bytes and not the 101 that were written"):
        MappedFile(tmp_path / "a", 101)
    with pytest.raises(FileNotFoundError):
        MappedFile(tmp_path / "b", 1)
