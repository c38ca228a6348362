"""Tars that others write are listed as WebDataset groups them, and what it would lose in silence is an error."""

import io
import itertools
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefeed.pipeline.formats.listing import Listing
from imagefeed.pipeline.formats.tar import BLOCK
from imagefeed.pipeline.formats.webdataset import list_samples
from imagefeed.pipeline.image.stored import JPEG, OTHER
from tests.conftest import encoded, picture
from tests.formats.test_tar import tar_of

PHOTO = encoded(picture(1, 9, 12))
DRAWING = encoded(picture(2, 7, 5), "PNG")

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # WebDataset's open files


def listed(data: bytes) -> Listing:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return list_samples(file.fileno(), len(data), "it.tar")


def rows(data: bytes) -> list[tuple[str, Any, bytes]]:
    """Key, class (its name or number) and payload of each sample."""
    found = listed(data)
    labels = [found.classes[label] for label in found.label] if found.classes else found.label.tolist()
    spans = zip(found.offset.tolist(), found.size.tolist(), strict=True)
    return [(k, c, data[o : o + s]) for k, c, (o, s) in zip(found.key.to_pylist(), labels, spans, strict=True)]


def gnu(files: Mapping[str, bytes]) -> bytes:
    return tar_of(dict(files), tarfile.GNU_FORMAT)


def stock(path: Path) -> list[dict]:
    return list(webdataset.WebDataset(str(path), shardshuffle=False))


@pytest.mark.parametrize("format", ["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"])
def test_what_webdataset_writes_is_read_as_webdataset_reads_it(tmp_path: Path, format: str) -> None:
    path = tmp_path / "shard.tar"
    samples = [
        {"__key__": "a/0", "jpg": PHOTO, "cls": b"3", "txt": b"first"},
        {"__key__": "a/1", "cls": b" 12\n", "png": DRAWING},
        {"__key__": "b.c/1", "JPEG": PHOTO, "Cls": b"0", "seg.png": DRAWING},
    ]
    if format != "USTAR_FORMAT":
        samples += [
            {"__key__": "d/" * 70 + "long", "jpg": PHOTO, "cls": b"5"},
            {"__key__": "ümlaut", "jpg": PHOTO, "cls": b"5"},
        ]
    with webdataset.TarWriter(str(path), encoder=False, format=format) as writer:
        for sample in samples:
            writer.write(sample)
    read = [(s["__key__"], int(s["cls"]), s.get("jpg", s.get("jpeg", s.get("png")))) for s in stock(path)]
    assert rows(path.read_bytes()) == read and len(read) == len(samples)
    assert listed(path.read_bytes()).kind.tolist() == [JPEG, OTHER, *[JPEG] * (len(samples) - 2)]


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=pax"], ["--format=ustar"], ["--format=v7"]])
def test_what_the_command_tar_writes_is_read(tmp_path: Path, options: list[str]) -> None:
    deep = "n01440764" if options[0] in ("--format=ustar", "--format=v7") else "x" * 120 + "/n01440764"
    for folder, name in itertools.product((deep, "n01443537"), ("a", "b")):
        (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / folder / f"{name}.JPEG").write_bytes(PHOTO)
    command = ["tar", "-cf", str(tmp_path / "it.tar"), "-C", str(tmp_path / "in"), "--sort=name", *options, "."]
    subprocess.run(command, check=True)
    expected = [(f"./{folder}/{name}", folder[-9:], PHOTO) for folder in (deep, "n01443537") for name in "ab"]
    assert sorted(rows((tmp_path / "it.tar").read_bytes())) == sorted(expected)


def test_labels_in_json() -> None:
    files = {"0.json": json.dumps({"label": 7, "cls": 1}).encode(), "0.webp": encoded(picture(1, 8, 8), "WEBP")}
    files |= {"1.json": b'{"cls": "12", "caption": "x"}', "1.jpg": PHOTO}
    assert [label for _, label, _ in rows(gnu(files))] == [7, 12]
    for bad in (b"{}", b"[]", b"{", b'{"label": true}', b'{"label": 1.0}', b'{"label": "x"}', b"[" * 100_000):
        with pytest.raises(ValueError, match="it.tar: sample 1 has no label: no number `label` or `cls`"):
            rows(gnu(files | {"1.json": bad}))
    with pytest.raises(ValueError, match="it.tar: sample 1 has no label"):
        rows(gnu({name: data for name, data in files.items() if name != "1.json"}))


def test_cls_goes_before_json_and_json_before_the_folder() -> None:
    files = {"n01/0.jpg": PHOTO, "n01/0.json": b'{"label": 5}', "n01/0.cls": b"4"}
    assert rows(gnu(files)) == [("n01/0", 4, PHOTO)]
    del files["n01/0.cls"]
    assert rows(gnu(files)) == [("n01/0", 5, PHOTO)]
    files["n01/0.json"] = b"{}"
    assert rows(gnu(files)) == [("n01/0", "n01", PHOTO)]


def test_labels_in_the_key() -> None:
    files = {"train/n02/n01440764_1.jpg": PHOTO, "train/n01/y.jpg": PHOTO, "n01443537_7.JPEG": PHOTO}
    assert [name for _, name, _ in rows(gnu(files))] == ["n02", "n01", "n01443537"]
    assert listed(gnu(files)).classes == ("n01", "n01443537", "n02")
    with pytest.raises(ValueError, match="it.tar: sample 7 has no label: no member cls, .* no class folder or WordNet"):
        rows(gnu(files | {"7.jpg": PHOTO}))


GOOD = {"a.jpg": PHOTO, "a.cls": b"1", "b.jpg": PHOTO, "b.cls": b"2"}
FAULTS = {
    "sample b has no label: its member cls is missing": {"a.jpg": PHOTO, "a.cls": b"1", "b.jpg": PHOTO},
    "sample b has a member cls and the first sample n/a has none": {"n/a.jpg": PHOTO, "b.jpg": PHOTO, "b.cls": b"1"},
    "the sample of b.cls has no image": {"a.jpg": PHOTO, "a.cls": b"1", "b.cls": b"1"},
    "the sample of a.cls has no image": {"a.cls": b"1", "b.jpg": PHOTO, "b.cls": b"1"},
    "a.right.jpg is the second image": {"a.cls": b"1", "a.left.jpg": PHOTO, "a.right.jpg": DRAWING},
    "a.png is the second image or label": {"a.cls": b"1", "a.jpg": PHOTO, "a.png": DRAWING},
    "the key a comes twice": {"a.jpg": PHOTO, "a.cls": b"1", "b.jpg": PHOTO, "b.cls": b"2", "a.jpeg": PHOTO},
    "a.jpg is empty": {"a.jpg": b"", "a.cls": b"1"},
    "the label of sample a is b'cat', which is no number": {"a.jpg": PHOTO, "a.cls": b"cat"},
    "the label of sample a is b'1 2', which": {"a.jpg": PHOTO, "a.cls": b"1 2"},
    "the label of sample a is b'-1', which": {"a.jpg": PHOTO, "a.cls": b"-1"},
    "the label of sample a is b' ', which": {"a.jpg": PHOTO, "a.cls": b" "},
    "sample a has the label 99999999: a label is 0 to": {"a.jpg": PHOTO, "a.cls": b"99999999"},
    "the label of sample a is b'000000000000000000000": {"a.jpg": PHOTO, "a.cls": b"0" * 30},
    "b looks like an image, but its name has no suffix": {"a.jpg": PHOTO, "a.cls": b"1", "b": PHOTO},
    ".b looks like an image": {"a.jpg": PHOTO, "a.cls": b"1", "x/.b": DRAWING},
    "holds no sample: 1 files": {"readme": b"text"},
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_sample_that_is_not_whole_is_named(what: str) -> None:
    with pytest.raises(ValueError, match=r"it\.tar") as caught:
        listed(gnu(FAULTS[what]))
    assert what in str(caught.value)


def test_what_webdataset_passes_over_is_passed_over(tmp_path: Path) -> None:
    files = {"__index__/x.json": b"{}", "__meta__": b"{}", "readme": b"text", ".DS_Store": b"x", "._a.jpg": b"\0"}
    assert rows(gnu(files | GOOD)) == [("a", 1, PHOTO), ("b", 2, PHOTO)]
    (tmp_path / "it.tar").write_bytes(gnu(files | GOOD))
    assert [s["__key__"] for s in stock(tmp_path / "it.tar") if "cls" in s] == ["a", "b"]


def test_the_same_key_in_a_row_that_was_broken_is_an_error_where_webdataset_gives_halves(tmp_path: Path) -> None:
    files = dict(sorted(GOOD.items(), key=lambda item: item[0][::-1]))  # all labels, then all images
    (tmp_path / "it.tar").write_bytes(gnu(files))
    assert len(stock(tmp_path / "it.tar")) == 4
    with pytest.raises(ValueError, match="has no image .* beside it; the members of a sample must be adjacent"):
        listed(gnu(files))


def test_links_sparse_files_and_a_second_tar_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    (tmp_path / "a.cls").write_bytes(b"1")
    for make in (Path.hardlink_to, Path.symlink_to):
        (tmp_path / "b.jpg").unlink(missing_ok=True)
        make(tmp_path / "b.jpg", tmp_path / "a.jpg")
        subprocess.run(["tar", "-cf", "it.tar", "a.jpg", "a.cls", "b.jpg"], cwd=tmp_path, check=True)
        with pytest.raises(ValueError, match="it.tar has a link at byte .* where an image may be"):
            listed((tmp_path / "it.tar").read_bytes())
    with open(tmp_path / "holes.jpg", "wb") as file:
        file.truncate(1 << 20)
    for format in ("gnu", "pax"):
        subprocess.run(["tar", "-cSf", "it.tar", f"--format={format}", "a.jpg", "holes.jpg"], cwd=tmp_path, check=True)
        with pytest.raises(ValueError, match="it.tar has a sparse member at byte"):
            listed((tmp_path / "it.tar").read_bytes())
    with pytest.raises(ValueError, match="it.tar goes on after its closing blocks"):
        listed(gnu(GOOD) + gnu({"c.jpg": PHOTO, "c.cls": b"1"}))


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused(mode: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as tar:  # type: ignore[call-overload]
        tar.addfile(tarfile.TarInfo("a"))
    with pytest.raises(ValueError, match="it.tar is compressed .*: decompress it"):
        listed(buffer.getvalue())


def test_a_tar_without_its_end_is_an_error_wherever_it_was_cut() -> None:
    data = gnu(GOOD)
    end = len(data.rstrip(b"\0"))
    for length in range(0, end + -end % BLOCK + 2 * BLOCK, 100):
        with pytest.raises(ValueError, match=r"it\.tar is cut short.*get the file again"):
            listed(data[:length])


KEYS = st.text(st.sampled_from("ab/_é0 "), min_size=1, max_size=150).filter(lambda key: key.rpartition("/")[2])


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(KEYS, min_size=1, max_size=8, unique=True),
    format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    payloads=st.lists(st.binary(min_size=1, max_size=1100), min_size=8, max_size=8),
)
def test_any_samples_come_back(keys: list[str], format: int, payloads: list[bytes]) -> None:
    samples = [(key, place, payload) for place, (key, payload) in enumerate(zip(keys, payloads, strict=False))]
    files = {f"{k}.{suffix}": d for k, label, p in samples for suffix, d in (("jpg", p), ("cls", str(label).encode()))}
    assert rows(tar_of(files, format)) == samples


PLAIN = tar_of({**GOOD, "y" * 120 + ".jpg": PHOTO, "y" * 120 + ".cls": b"7"}, tarfile.GNU_FORMAT)
PAX = tar_of({f"n01/{'z' * 120}.jpg": PHOTO, "n02/ü.jpg": PHOTO, "n03/x.jpg": PHOTO}, tarfile.PAX_FORMAT)


@settings(max_examples=400, deadline=None)
@given(data=st.sampled_from([PLAIN, PAX]), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_or_leaves_every_sample(data: bytes, place: float, bit: int) -> None:
    at = int(place * len(data.rstrip(b"\0")))
    flipped = bytearray(data)
    flipped[at] ^= 1 << bit
    found, said, whole = None, "", rows(data)
    try:
        found = rows(bytes(flipped))
    except ValueError as error:
        said = str(error)
    if found is None:
        assert "it.tar" in said
        return
    assert len(found) == len(whole)
    assert sum(one[2] != other[2] for one, other in zip(found, whole, strict=True)) <= 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_bytes_that_are_no_tar_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"it\.tar"):
        listed(data)


def test_hostile_sizes_are_errors() -> None:
    for size in (b"\x80" + b"\xff" * 11, b"\xff" * 12, b"77777777777\0", b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7):
        data = bytearray(gnu(GOOD))
        data[124:136] = size
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:BLOCK])
        with pytest.raises(ValueError, match=r"it\.tar is (damaged|cut short)"):
            listed(bytes(data))
    for record in (b"99999999999999999999 path=x\n", b"12 size=9999\n", b"5 a=b\n", b"11 pathxxx\n", b"9 =", b"0 \n"):
        body = record.ljust(BLOCK, b"\0")
        header = tarfile.TarInfo("pax")
        header.type, header.size = b"x", len(record)
        with pytest.raises(ValueError, match=r"it\.tar is (damaged|cut short)"):
            listed(header.tobuf() + body + gnu(GOOD))


def test_pax_may_give_the_size() -> None:
    record = b"%d size=%d\n" % (9 + len(str(len(PHOTO))), len(PHOTO))
    assert len(record) == int(record.split()[0])
    extra, member = tarfile.TarInfo("pax"), tarfile.TarInfo("a/a.jpg")
    extra.type, extra.size = b"x", len(record)
    data = extra.tobuf() + record.ljust(BLOCK, b"\0") + member.tobuf() + PHOTO + bytes(-len(PHOTO) % BLOCK)
    assert rows(data + bytes(2 * BLOCK)) == [("a/a", "a", PHOTO)]


def test_names_that_are_not_utf8_are_escaped() -> None:
    data = gnu({"a\udcff.jpg": PHOTO, "a\udcff.cls": b"1"} | GOOD)
    assert [key for key, _, _ in rows(data)] == ["a\\xff", "a", "b"]


def test_more_members_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagefeed.pipeline.formats.tar.BATCH", 3)
    files = {f"{'k' * 90}{i}.{suffix}": data for i in range(7) for suffix, data in (("jpg", PHOTO), ("cls", b"1"))}
    assert rows(gnu(files)) == [(f"{'k' * 90}{i}", 1, PHOTO) for i in range(7)]
    assert np.all(np.diff(listed(gnu(files)).offset) > 0)
