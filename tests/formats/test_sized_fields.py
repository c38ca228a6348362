"""Sizes and offsets that do not add up are errors with the sample, before any memory is taken for what they say."""

import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from imagefeed.pipeline.formats.sized_fields import find_fields, pil_images, read_offsets, read_texts
from imagefeed.pipeline.sources.locator import image_file, parse


def opened(path: Path, data: bytes) -> int:
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


def shard(samples: list[list[bytes]]) -> bytes:
    """Each field behind a size."""
    made = [b"".join(struct.pack("<I", len(each)) for each in fields) + b"".join(fields) for fields in samples]
    offsets = np.cumsum([4 * (len(made) + 2), *map(len, made)]).astype("<u4")
    return struct.pack("<I", len(made)) + offsets.tobytes() + b"".join(made)


def test_fields_are_where_they_were_put(tmp_path: Path) -> None:
    samples = [[b"a" * (row % 4), b"", b"label", bytes([row]) * 3] for row in range(9)]
    data = shard(samples)
    file = opened(tmp_path / "a", data)
    starts, sizes = find_fields(file, read_offsets(file, len(data), "a"), [None] * 4, "a")
    os.close(file)
    found = [[data[at : at + n] for at, n in zip(*row, strict=True)] for row in zip(starts, sizes, strict=True)]
    assert found == samples


@pytest.mark.parametrize("count", [1 << 31, (1 << 32) - 1, 4, 1 << 20])
def test_a_count_beyond_the_file_is_an_error(count: int, tmp_path: Path) -> None:
    data = struct.pack("<I", count) + shard([[b"abc"]])[4:]
    file = opened(tmp_path / "a", data)
    with pytest.raises(ValueError, match=r"a is damaged: \d+ samples cannot be in|its table of offsets leads outside"):
        read_offsets(file, len(data), "a")
    os.close(file)


def test_sizes_that_do_not_add_up_name_the_sample(tmp_path: Path) -> None:
    data = bytearray(shard([[b"abc"], [b"defg"]]))
    data[-8:-4] = struct.pack("<I", 1 << 31)
    file = opened(tmp_path / "a", bytes(data))
    with pytest.raises(ValueError, match="a: sample 1 is damaged: its fields have"):
        find_fields(file, read_offsets(file, len(data), "a"), [None], "a")
    os.close(file)


def test_text_that_is_none_names_the_sample(tmp_path: Path) -> None:
    file = opened(tmp_path / "a", b"ab\xff")
    assert read_texts(file, np.array([0]), np.array([2]), "a") == pa.array(["ab"])
    with pytest.raises(ValueError, match="a: sample 1 has text that is no UTF-8"):
        read_texts(file, np.array([0, 2]), np.array([2, 1]), "a")
    os.close(file)


def raw(image: Image.Image) -> bytes:
    return struct.pack("<3I", *image.size, len(image.mode)) + image.mode.encode() + image.tobytes()


def test_raw_pixels_become_files_of_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)), Image.new("L", (3, 2), 77)]
    parts = [raw(image) for image in images]
    file = opened(tmp_path / "a.bin", b"".join(parts))
    names, offsets, sizes = pil_images(
        file, np.array([0, len(parts[0])]), np.array([*map(len, parts)]), "a.bin", "a.bin"
    )
    assert names.to_pylist() == ["a.bin#raw/5x7", "a.bin#grey/2x3"]
    for image, name, at, size in zip(images, names.to_pylist(), offsets.tolist(), sizes.tolist(), strict=True):
        (tmp_path / "image").write_bytes(image_file(os.pread(file, size, at), parse(name).how))
        with Image.open(tmp_path / "image") as found:
            assert found.mode == image.mode and found.tobytes() == image.tobytes()
    os.close(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (raw(Image.new("RGBA", (3, 2))), "sample 0 is an image of mode 'RGBA'"),
        (struct.pack("<3I", 2, 2, 3) + b"RGB" + bytes(11), "11 bytes are no 2x2 pixels"),
        (struct.pack("<3I", (1 << 32) - 1, (1 << 32) - 1, 3) + b"RGB", "are no 4294967295x4294967295 pixels"),
        (struct.pack("<3I", 0, 2, 3) + b"RGB", "are no 0x2 pixels"),
        (struct.pack("<3I", 2, 2, 1 << 31) + b"RGB" + bytes(12), "sample 0 is"),
    ],
)
def test_pixels_that_are_none_name_the_sample(data: bytes, message: str, tmp_path: Path) -> None:
    file = opened(tmp_path / "a", data)
    with pytest.raises(ValueError, match=message):
        pil_images(file, np.array([0]), np.array([len(data)]), "a", "a")
    os.close(file)
