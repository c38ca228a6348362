"""Ranges that are gathered are those that are read one by one, dense or far apart, and beyond the end."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.files import gather as module
from imagefeed.pipeline.files.gather import gather, gather_numbers


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gather") / "data"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    return path


@given(
    offsets=st.lists(st.integers(0, 100_100), max_size=40).map(sorted),
    width=st.integers(1, 300),
    near=st.sampled_from([0, 100, 1 << 12]),
    block=st.sampled_from([1000, 1 << 22]),
)
def test_gathered_ranges_are_those_read_one_by_one(
    offsets: list[int], width: int, near: int, block: int, file: Path
) -> None:
    whole = file.read_bytes()
    descriptor = os.open(file, os.O_RDONLY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NEAR", near)
        patch.setattr(module, "BLOCK", block)
        found = gather(descriptor, np.array(offsets, np.int64), width)
    os.close(descriptor)
    assert [row.tobytes() for row in found] == [whole[at : at + width].ljust(width, b"\0") for at in offsets]


def test_numbers_are_little_endian(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    found = gather_numbers(descriptor, np.array([5, 50_000]), "<u4", 2)
    os.close(descriptor)
    whole = file.read_bytes()
    assert found.tolist() == [
        [int.from_bytes(whole[at + k : at + k + 4], "little") for k in (0, 4)] for at in (5, 50_000)
    ]
