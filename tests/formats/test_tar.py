"""The standard library and WebDataset read our tars; other people's tars are scanned as tarfile reads them."""

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from imagefeed.pipeline.formats.tar import BLOCK, Member, TarWriter, header, scan
from imagefeed.pipeline.image.stored import JPEG
from tests.conftest import content_of

SAMPLES = [
    ("n01440764_10026", 0, b"first"),
    ("deep/er/key", 7, b"x" * 512),
    ("k" * 150, 3, b"y" * 513),
    ("e", 1, b""),
]


def scan_bytes(data: bytes, start: int = 0, end: int | None = None) -> list[Member]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return list(scan(file.fileno(), start, len(data) if end is None else end, "it.tar"))


def tar_of(files: dict[str, bytes], format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        folder = tarfile.TarInfo("a_folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def write(path: Path) -> list[int]:
    with TarWriter(path) as writer:
        return [writer.add(key, label, payload, JPEG, 0, 0) for key, label, payload in SAMPLES]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    offsets = write(path)
    data = path.read_bytes()
    expected = {f"{key}.jpg": payload for key, _, payload in SAMPLES}
    expected |= {f"{key}.cls": str(label).encode() for key, label, _ in SAMPLES}
    with tarfile.open(path) as tar:
        assert {member.name: content_of(tar, member) for member in tar} == expected
    assert {m.name: data[m.offset : m.offset + m.size] for m in scan_bytes(data)} == expected
    assert [data[at : at + len(payload)] for at, (_, _, payload) in zip(offsets, SAMPLES, strict=True)] == [
        payload for _, _, payload in SAMPLES
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # WebDataset leaves its file open
def test_stock_webdataset_reads_it(tmp_path: Path) -> None:
    import webdataset

    path = tmp_path / "shard.tar"
    write(path)
    read = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [(s["__key__"], int(s["cls"]), s["jpg"]) for s in read] == SAMPLES


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    write(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


NAMES = ["short.jpg", "folder/" * 16 + "in_prefix.jpg", "l" * 120 + ".jpg", "ümlaut_" * 20 + ".jpg"]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_other_tars_are_scanned_as_tarfile_reads_them(format: int) -> None:
    names = NAMES[:2] if format == tarfile.USTAR_FORMAT else NAMES
    data = tar_of({name: bytes([i]) * (300 * i) for i, name in enumerate(names)}, format)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [Member(m.name, m.offset_data, m.size) for m in tar if m.isfile()]
    assert [m.name for m in expected] == names
    assert scan_bytes(data) == expected


def test_a_tar_in_a_tar_is_scanned_in_place() -> None:
    inner = tar_of({"a.jpg": b"123", "b.jpg": b"4567"}, tarfile.GNU_FORMAT)
    outer = tar_of({"inner.tar": inner}, tarfile.GNU_FORMAT)
    (at,) = scan_bytes(outer)
    members = scan_bytes(outer, at.offset, at.offset + at.size)
    assert [outer[m.offset : m.offset + m.size] for m in members] == [b"123", b"4567"]


def test_cut_anywhere_it_is_an_error() -> None:
    data = tar_of({f"{i}.jpg": bytes(700) for i in range(3)}, tarfile.GNU_FORMAT)
    last = scan_bytes(data)[-1]
    end_of_members = last.offset + last.size + -last.size % BLOCK
    for length in range(0, end_of_members + 2 * BLOCK, 64):
        with pytest.raises(ValueError, match=r"it\.tar is cut short.*(get the file again|bytes after it)"):
            scan_bytes(data[:length])
    assert len(scan_bytes(data[: end_of_members + 2 * BLOCK])) == 3


def test_a_damaged_header_is_an_error() -> None:
    data = bytearray(tar_of({"a.jpg": bytes(700), "b.jpg": bytes(10)}, tarfile.GNU_FORMAT))
    header = scan_bytes(bytes(data))[1].offset - BLOCK
    for place in (0, 100, 130, 150, 300):
        damaged = data.copy()
        damaged[header + place] ^= 0x15
        with pytest.raises(ValueError, match=f"it.tar is damaged: no tar header at byte {header}"):
            scan_bytes(bytes(damaged))


@given(st.text(max_size=110), st.integers(0, 2 * 8**11))
@example("x" * 100, 8**11 - 1)
@example("x" * 101, 0)
@example("x", 8**11)
def test_headers_are_those_of_the_standard_library(name: str, size: int) -> None:
    assume("\0" not in name)
    member = tarfile.TarInfo(name)
    member.size = size
    assert header(name, size) == member.tobuf(tarfile.GNU_FORMAT)
