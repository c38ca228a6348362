"""MAT-files as SciPy reads and writes them, and an error, soon, for every damaged one."""

import io
import struct
import tarfile
import zlib
from typing import Any

import numpy as np
import pytest
import scipy.io

from imagefeed.pipeline.formats.matlab import MOST_BYTES, read_structs, write_structs
from tests.conftest import REAL_DATA, content_of

ENTRIES: list[dict[str, Any]] = [
    {"id": 1.0, "WNID": "n01440764", "words": "tench, Tinca tinca", "children": []},
    {"id": 2.0, "WNID": "n1", "words": "", "children": [3]},
    {"id": 3.5, "WNID": "n0144", "words": "four", "children": [7, 8, 2**40]},
]


def by_scipy(entries: list[dict[str, Any]], **options: Any) -> bytes:
    """The file that SciPy writes of them, with our header where it is not compressed."""
    array = np.empty((len(entries), 1), [(field, object) for field in entries[0]])
    for row, entry in enumerate(entries):
        array[row, 0] = tuple(entry.values())
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"other": np.arange(3), "synsets": array} if options else {"synsets": array}, **options)
    return b"MATLAB 5.0 MAT-file".ljust(116) + stream.getvalue()[116:]


def plain(value: Any) -> Any:
    """What SciPy reads, as we return it."""
    if value.dtype.names:
        return [{field: plain(entry[field]) for field in value.dtype.names} for entry in value.ravel("F")]
    if value.dtype.kind == "U":
        return str(value[0]) if value.size else ""
    return value.ravel("F").tolist()


def test_the_bytes_are_those_of_scipy() -> None:
    assert write_structs(ENTRIES, "synsets") == by_scipy(ENTRIES)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_wrote_is_read(compressed: bool) -> None:
    small = [entry | {"few": np.array([3, 4], np.uint8), "inner": {"a": 1.0, "b": "x"}} for entry in ENTRIES]
    content = by_scipy(small, do_compression=compressed)
    assert read_structs(content, "synsets") == plain(scipy.io.loadmat(io.BytesIO(content))["synsets"])


def test_the_kit_of_the_real_images_is_read_as_scipy_does() -> None:
    path = REAL_DATA / "ilsvrc-tiny" / "ILSVRC2012_devkit_t12.tar.gz"
    if not path.exists():
        pytest.skip("the real images are not beside this checkout")
    with tarfile.open(path) as kit:
        (meta,) = [content_of(kit, member) for member in kit if member.name.endswith("meta.mat")]
    read = read_structs(meta, "synsets")
    assert len(read) == 101 and read == plain(scipy.io.loadmat(io.BytesIO(meta))["synsets"])


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_is_a_value_error_or_another_value(compressed: bool) -> None:
    content = by_scipy(ENTRIES, do_compression=compressed)
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(3000):
        altered = bytearray(content[: rng.integers(len(content))] if trial % 3 == 0 else content)
        for _ in range(1 + trial % 4):
            if altered:
                altered[rng.integers(len(altered))] = rng.integers(256)
        try:
            read_structs(bytes(altered), "synsets")
        except ValueError:
            refused += 1
    assert refused > 1000


def test_what_unpacks_to_too_much_is_refused() -> None:
    packed = zlib.compress(bytes(MOST_BYTES + 1))
    content = write_structs(ENTRIES, "x")[:128] + struct.pack("<II", 15, len(packed)) + packed
    with pytest.raises(ValueError, match="more than 67,108,864 bytes"):
        read_structs(content, "synsets")


def test_more_entries_than_bytes_are_refused() -> None:
    content = bytearray(write_structs(ENTRIES, "synsets"))
    at = content.index(struct.pack("<ii", 3, 1))
    content[at : at + 8] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    with pytest.raises(ValueError, match="struct array of"):
        read_structs(bytes(content), "synsets")


def test_another_name_and_another_file_are_refused() -> None:
    with pytest.raises(ValueError, match="no structs called synsets"):
        read_structs(write_structs(ENTRIES, "others"), "synsets")
    with pytest.raises(ValueError, match="no MAT-file"):
        read_structs(b"PK" + bytes(200), "synsets")
