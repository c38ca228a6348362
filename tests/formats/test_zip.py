"""What an archive is said to hold is what Python's zipfile reads from it."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from imagefeed.pipeline.formats.zip import DEFLATED, data_offsets, inflated, read_members

rng = np.random.default_rng(0)
NAMES = ["a.jpg", "ü/ß.png", "folder/", "folder/deep/x.tif", "b" * 300, "empty"]
DATA = {name: b"" if name.endswith("/") or name == "empty" else bytes(99) + rng.bytes(200) for name in NAMES}


def packed(path: Path, method: int, comment: bytes = b"", wide: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.comment = comment
        for name, data in DATA.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.comment, info.extra = b"a comment", b"\x55\x55\x02\x00ab"
            with archive.open(info, "w", force_zip64=wide) as member:
                member.write(data)
    return path


def read(path: Path) -> dict[str, bytes]:
    size, whole, file = path.stat().st_size, path.read_bytes(), os.open(path, os.O_RDONLY)
    try:
        members = read_members(file, size, path.name)
        order = np.arange(len(members.size))[::-1].copy()  # in any order
        offsets = data_offsets(file, members, order, path.name)
    finally:
        os.close(file)
    found = {}
    for row, at in zip(order.tolist(), offsets.tolist(), strict=True):
        data = whole[at : at + int(members.packed[row])]
        if members.method[row] == DEFLATED:
            data = inflated(data, int(members.size[row]))
        found[members.name[row].as_py()] = data
    return found


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("comment", [b"", b"PK in a comment" * 99])
def test_members_are_those_of_zipfile(method: int, wide: bool, comment: bytes, tmp_path: Path) -> None:
    assert read(packed(tmp_path / "a.zip", method, comment, wide)) == DATA


def test_offsets_beyond_4_gib_come_from_the_extras(tmp_path: Path) -> None:
    """A file with a hole: members that begin beyond 2**32, and a directory in the form of 64 bits."""
    path = tmp_path / "a.zip"
    with open(path, "wb") as file:
        file.seek((1 << 32) + 5)
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in DATA.items():
                archive.writestr(name, data)
    size, descriptor = path.stat().st_size, os.open(path, os.O_RDONLY)
    members = read_members(descriptor, size, "a.zip")
    offsets = data_offsets(descriptor, members, np.arange(len(NAMES)), "a.zip")
    found = [os.pread(descriptor, int(n), int(at)) for at, n in zip(offsets, members.packed, strict=True)]
    os.close(descriptor)
    assert offsets.min() > 1 << 32
    assert dict(zip(members.name.to_pylist(), found, strict=True)) == DATA


def test_names_that_are_no_utf8_are_escaped(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("caf\xe9.jpg", b"x")
        archive.writestr("plain.jpg", b"y")
    data = (tmp_path / "a.zip").read_bytes().replace("café".encode(), b"caf\xe9\xe9")
    (tmp_path / "a.zip").write_bytes(data)
    assert list(read(tmp_path / "a.zip")) == ["plain.jpg", r"caf\xe9\xe9.jpg"]


def test_a_deflated_member_that_is_not_of_its_size_is_an_error(tmp_path: Path) -> None:
    """A member that unpacks to more is not unpacked to its end."""
    import zlib

    data = zlib.compress(bytes(1 << 20))[2:-4]
    assert inflated(data, 1 << 20) == bytes(1 << 20)
    for size in (10, (1 << 20) - 1, (1 << 20) + 1):
        with pytest.raises(ValueError, match=f"has not the {size} bytes"):
            inflated(data, size)
    with pytest.raises(ValueError, match="damaged"):
        inflated(b"\xff" * 10, 5)


def test_what_is_no_archive_or_in_parts_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", zipfile.ZIP_STORED)
    whole = path.read_bytes()
    for content, message in (
        (b"", "no zip archive"),
        (whole[:-30], "no zip archive, or cut short"),
        (b"in front" + whole, "has something in front"),
        (whole[: len(whole) // 2] + whole[len(whole) // 2 + 1 :], "directory does not end"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read(path)
