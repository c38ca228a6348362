"""Other codes for a JPEG's coefficients: the same pixels for everybody, and tables that are sound."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from pipeline.jpeg import Coding, JpegCodec
from pipeline.jpeg_decoder import MCU_BYTES
from pipeline.jpeg_recode import AC_SYMBOLS, DC_SYMBOLS, DHT_SEGMENT, LONGEST, TABLES, codes_of, recode, recoder
from tests import jpeg_twin
from tests.conftest import REAL_DATA, encoded, picture
from tests.test_jpeg_decoder import jpegs, own, turbo

TOOLS = recoder()


def recoded(data: bytes) -> bytes:
    """`data` in our codes; empty where it is not recoded."""
    out = np.empty(2 * len(data) + 4 * MCU_BYTES, np.uint8)
    return out[: recode(TOOLS, np.frombuffer(data, np.uint8), out)].tobytes()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@given(jpegs())
@settings(max_examples=100)
def test_everybody_sees_the_same_pixels(data: bytes) -> None:
    new = recoded(data)
    assert bool(new) == (b"\xff\xdd\0\4" not in data)  # restart markers are left alone
    if new:
        np.testing.assert_array_equal(turbo(new), turbo(data))
        np.testing.assert_array_equal(pillow(new), pillow(data))
        np.testing.assert_array_equal(own(new), turbo(data))
        assert new.count(DHT_SEGMENT.tobytes()) == 1 and new.count(b"\xff\xc4") == 1


@given(jpegs())
@settings(max_examples=30)
def test_what_is_recoded_is_recoded_to_itself(data: bytes) -> None:
    once = recoded(data)
    assert once == b"" or recoded(once) == once


def test_it_follows_the_standard() -> None:
    data = encoded(picture(5, 37, 45), quality=90)
    np.testing.assert_array_equal(jpeg_twin.decode(recoded(data)), jpeg_twin.decode(data))


@pytest.mark.parametrize(("table", "symbols"), [(0, DC_SYMBOLS), (1, AC_SYMBOLS)])
def test_all_that_baseline_has_can_be_written(table: int, symbols: bytes) -> None:
    lengths = codes_of(TABLES)[1][table]
    assert set(np.flatnonzero(lengths)) == set(symbols) and lengths.max() <= LONGEST
    used = sum(2.0**-length for length in lengths[lengths > 0])
    assert used < 1  # the code of ones alone is free (T.81, C.2)
    assert used > 0.99


def test_tools_know_which_tables_they_were_made_for() -> None:
    plain, optimised = (encoded(picture(2, 60, 60), quality=80, optimize=each) for each in (False, True))
    first = recoded(plain)
    assert recoded(optimised) == first and recoded(plain) == first


def test_no_room_is_no_jpeg() -> None:
    data = np.frombuffer(encoded(picture(2, 90, 90), quality=95), np.uint8)
    for size in range(0, data.size + 2 * MCU_BYTES, 97):
        out = np.zeros(size + 8, np.uint8)
        recode(TOOLS, data, out[:size])
        assert not out[size:].any()


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": "4:2:2"}])
def test_what_is_of_another_form_stays(options: dict) -> None:
    assert recoded(encoded(picture(1, 32, 32), **options)) == b""


@pytest.mark.parametrize("width", [1, 4, 5, 64])
def test_the_encoder_writes_any_width(width: int) -> None:
    codec, image = JpegCodec(), picture(4, 21, width)
    plain = codec.encode(image, Coding(90, recoded=False)).tobytes()
    assert turbo(codec.encode(image, Coding(90)).tobytes()) is not None
    np.testing.assert_array_equal(turbo(codec.encode(image, Coding(90)).tobytes()), turbo(plain))


@pytest.mark.skipif(not REAL_DATA.exists(), reason="needs the sample of real images")
def test_photographs_take_fewer_bytes() -> None:
    codec = JpegCodec()
    before = after = 0
    for path in sorted((REAL_DATA / "imagenet-photos").rglob("*.JPEG"))[::10]:
        image = np.ascontiguousarray(pillow(path.read_bytes()))
        if image.ndim == 3:
            before += codec.encode(image, Coding(90, recoded=False)).size
            after += codec.encode(image, Coding(90)).size
    assert 0.9 * before < after < before


BOUNDS = """
import numpy as np
from tests.test_jpeg_decoder import damaged
from tests.test_jpeg_recode import recoded
from tests.conftest import encoded, picture
rng = np.random.default_rng(1)
for seed in range(20):
    for options in ({}, {"subsampling": "4:4:4"}):
        data = encoded(picture(seed, 40, 56), quality=95, **options)
        assert recoded(data)
        for _ in range(20):
            recoded(damaged(data, rng))
"""


def test_damage_reaches_beyond_no_array() -> None:
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": os.devnull}
    program = [sys.executable, "-W", "error", "-c", BOUNDS]
    result = subprocess.run(program, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert result.returncode == 0, result.stderr
