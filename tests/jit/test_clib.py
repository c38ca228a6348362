"""The C libraries: the known answers, Pillow's pixels, and a status for every JPEG that is not sound."""

import io

import numpy as np
import pytest
from PIL import Image

from imagefeed.pipeline.image.turbojpeg import CORRUPT, OK, WRONG_SIZE, decode_rgb, jpeg_size
from imagefeed.pipeline.jit.clib import find
from tests.conftest import encoded, picture


def as_bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (1, 1), (17, 33), (300, 129)])
def test_pixels_are_those_of_pillow(height: int, width: int, subsampling: str) -> None:
    data = encoded(picture(3, height, width), quality=90, subsampling=subsampling)
    out = np.empty((height, width, 3), np.uint8)
    assert decode_rgb(as_bytes(data), out) == OK
    np.testing.assert_array_equal(out, np.asarray(Image.open(io.BytesIO(data))))


def test_unsound_jpegs_have_a_status() -> None:
    data = encoded(picture(5, 256, 256), quality=90)
    out = np.empty((256, 256, 3), np.uint8)
    middle = len(data) // 2
    assert decode_rgb(as_bytes(data[:middle]), out) == CORRUPT
    assert decode_rgb(as_bytes(b"\0" * 64 + data[64:]), out) == CORRUPT
    assert decode_rgb(as_bytes(b""), out) == CORRUPT
    assert decode_rgb(as_bytes(data), np.empty((256, 255, 3), np.uint8)) == WRONG_SIZE


def test_no_image_lends_its_tables_to_the_next() -> None:
    whole, out = encoded(picture(5, 32, 32), quality=90), np.empty((32, 32, 3), np.uint8)
    bare, at = b"\xff\xd8", 2
    while whole[at + 1] != 0xDA:
        length = 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        bare += whole[at : at + length] if whole[at + 1] != 0xDB else b""  # no quantisers
        at += length
    bare += whole[at:]
    assert decode_rgb(as_bytes(whole), out) == OK
    assert decode_rgb(as_bytes(bare), out) == CORRUPT


def test_a_header_that_breaks_off_does_not_spoil_the_next_image() -> None:
    data = encoded(picture(5, 32, 32), quality=90)
    at = data.index(b"\xff\xdb") + 2
    bogus = data[:at] + b"\0\0" + data[at + 2 :]  # the length of the first table
    assert jpeg_size(as_bytes(bogus)) == (CORRUPT, 0, 0)
    assert jpeg_size(as_bytes(data)) == (OK, 32, 32)


def test_a_missing_library_is_none() -> None:
    assert find("no_such_thing") is None


def test_a_jpeg_of_tables_alone_has_no_size() -> None:
    whole, tables, at = encoded(picture(5, 20, 20)), b"\xff\xd8", 2
    while whole[at + 1] != 0xDA:
        length = 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        if whole[at + 1] in (0xDB, 0xC4):  # DQT, DHT
            tables += whole[at : at + length]
        at += length
    for _ in range(3):  # whatever lay in memory before
        assert jpeg_size(as_bytes(tables + b"\xff\xd9")) == (CORRUPT, 0, 0)
        assert jpeg_size(as_bytes(whole)) == (OK, 20, 20)
