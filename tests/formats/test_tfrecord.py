"""Records that are walked through in step give what was put into each; CRCs are those of the format."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.formats import tfrecord
from imagefeed.pipeline.formats.tfrecord import (
    BYTES,
    Walk,
    find_features,
    find_records,
    floats,
    integers,
    masked_crc,
    names_of,
    one_value,
)


def plain_crc(data: bytes) -> int:
    """CRC-32C bit by bit, masked."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def part(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(value: Any, packed: bool = True) -> bytes:
    """A Feature of one value; integers and reals packed, as all writers do, or as protocol buffers 2 did."""
    if isinstance(value, bytes):
        return part(1, part(1, value))
    if isinstance(value, float):
        return part(2, part(1, struct.pack("<f", value)) if packed else b"\x0d" + struct.pack("<f", value))
    return part(3, part(1, varint(value)) if packed else b"\x08" + varint(value))


def record(values: list[tuple[str, Any]], packed: bool = True) -> bytes:
    entries = [part(1, part(1, name.encode()) + part(2, feature(value, packed))) for name, value in values]
    return part(1, b"".join(entries))


def framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", plain_crc(length)) + data + struct.pack("<I", plain_crc(data))


def read(path: Path) -> list[tuple[bytes, int, float]]:
    """The features `image`, `label` and `score`."""
    descriptor, whole, found = os.open(path, os.O_RDONLY), path.read_bytes(), []
    try:
        for records in find_records(descriptor, len(whole), path.name):
            walk = Walk(descriptor, records, path.name)
            features = find_features(walk, records, ["image", "label", "score"])
            start, end = one_value(walk, features["image"], BYTES, "image")
            images = [whole[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)]
            labels = integers(walk, features["label"], "label").tolist()
            found += list(zip(images, labels, floats(walk, features["score"], "score").tolist(), strict=True))
    finally:
        os.close(descriptor)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tfrecord")


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 700), st.integers(-(2**63), 2**63 - 1), st.floats(width=32, allow_nan=False)),
        min_size=1,
        max_size=12,
    ),
    more=st.lists(st.tuples(st.text(max_size=40), st.integers(0, 2**40)), max_size=5),
    seed=st.integers(0, 1 << 30),
    packed=st.booleans(),
    block=st.sampled_from([1, 3, 1 << 16]),
    ahead=st.sampled_from([12, 500, 1 << 16]),
)
def test_records_give_what_was_put_in_whatever_the_order_of_features(
    rows: list, more: list, seed: int, packed: bool, block: int, ahead: int, folder: Path
) -> None:
    rng = np.random.default_rng(seed)
    content, expected = [], []
    for size, label, score in rows:
        image = rng.bytes(size)
        others = [(name, value) for name, value in more if name not in ("image", "label", "score")]
        values = [("image", image), ("label", label), ("score", score), *others]
        content.append(framed(record([values[place] for place in rng.permutation(len(values))], packed)))
        expected.append((image, label, score))
    path = folder / "a.tfrecord"
    path.write_bytes(b"".join(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfrecord, "BLOCK", block)
        patch.setattr(tfrecord, "AHEAD", ahead)
        assert read(path) == expected


@given(st.binary(max_size=20))
def test_the_crc_is_that_of_a_plain_loop(data: bytes) -> None:
    assert masked_crc(np.frombuffer(data, np.uint8)[None]).tolist() == [plain_crc(data)]


def test_the_crc_is_the_published_one() -> None:
    """RFC 3720, B.4: CRC-32C of 32 zeros is 0x8a9136aa."""
    crc = 0x8A9136AA
    assert plain_crc(bytes(32)) == ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


GOOD = record([("image", b"x" * 300), ("label", 3), ("score", 1.0)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (record([("image", b"x"), ("score", 1.0)]), "record 2 has no label: leave it out"),
        (record([("image", b"x"), ("label", 1.0), ("score", 1.0)]), "record 2 has a label that is not of integers"),
        (
            part(1, part(1, part(1, b"image") + part(2, part(1, part(1, b"a") + part(1, b"b"))))),
            "record 2 has none or several values of image: write one",
        ),
        (b"", "record 2 is no tf.train.Example"),
        (GOOD + part(2, b""), "record 2 is no tf.train.Example"),
        (GOOD[:-1], "record 2 is damaged"),
        (part(1, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "record 2 is damaged: a number without an end"),
    ],
)
def test_a_record_that_is_wrong_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(framed(GOOD) * 2 + framed(data) + framed(GOOD))
    with pytest.raises(ValueError, match=rf"a\.tfrecord: {message}"):
        read(path)


def test_a_length_that_is_wrong_is_named_and_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    for wrong in (1 << 63, 1 << 40, 7, 0):
        path.write_bytes(framed(GOOD) * 3 + struct.pack("<Q", wrong) + framed(GOOD)[8:])
        with pytest.raises(ValueError, match=r"length of record 3 has another CRC; get the file again"):
            read(path)
    path.write_bytes(framed(GOOD) + bytes(100_000))
    with pytest.raises(ValueError, match=r"length of record 1 has another CRC"):
        read(path)


def test_the_names_of_the_first_record_are_its_features(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(framed(GOOD))
    descriptor = os.open(path, os.O_RDONLY)
    records = next(iter(find_records(descriptor, path.stat().st_size, "a")))
    assert names_of(descriptor, records, "a") == {"image": 1, "label": 3, "score": 2}
    os.close(descriptor)
