"""The encoder: libjpeg-turbo's bytes in the standard's codes, the same pixels in the shared ones, sound tables."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.jpeg.encoder import encode, most_bytes, new_encoder
from imagefeed.pipeline.image.jpeg.fdct import CENTRE, CENTRE_FACTORS, reciprocals
from imagefeed.pipeline.image.jpeg.huffman_codes import AC_SYMBOLS, CHROMA, DC_SYMBOLS, LONGEST, LUMA, SHARED, codes_of
from imagefeed.pipeline.image.jpeg.planes import bytes_needed, paint, planes_in
from imagefeed.pipeline.image.stored import Sampling
from tests.conftest import REAL_DATA, encoded, picture
from tests.image.test_jpeg_decoder import own
from tests.support import jpeg_twin

CODEC = JpegCodec()
SIDES = st.one_of(st.integers(1, 70), st.sampled_from([96, 128, 256]))


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def extremes(seed: int, height: int, width: int) -> np.ndarray:
    return noise(seed, height, width) // 128 * 255


@pytest.mark.parametrize("quantiser", range(1, 256))
def test_quotients_by_multiplication_are_exact(quantiser: int) -> None:
    """For each coefficient that the transform can give, by the arithmetic of `fdct.quantised`."""
    factor, shift = (int(x) for x in reciprocals(np.array([quantiser], np.int16)).view(np.uint16).ravel())
    size = np.arange(1 << 15)
    rounded = (size + 4 * quantiser) & ~7
    assert ((rounded * factor >> 16) * shift >> 16 == (size + 4 * quantiser) // (8 * quantiser)).all()


def test_what_rounds_chroma_is_a_product_of_two_factors() -> None:
    assert CENTRE_FACTORS[0] * CENTRE_FACTORS[1] == CENTRE and max(CENTRE_FACTORS) < 1 << 15


@given(
    st.sampled_from([picture, noise, extremes]), SIDES, SIDES, st.integers(1, 100), st.sampled_from(get_args(Sampling))
)
@example(extremes, 64, 64, 100, "4:4:4")
@settings(max_examples=150, deadline=None)
def test_the_bytes_are_those_of_libjpeg_turbo(make, height: int, width: int, quality: int, sampling: Sampling) -> None:
    """As Pillow has it write them, headers and all."""
    image = make(height * width, height, width)
    ours = CODEC.encode(image, Coding(quality, sampling, "standard")).tobytes()
    assert ours == encoded(image, quality=quality, subsampling=sampling)


@given(st.sampled_from([picture, noise]), SIDES, SIDES, st.integers(1, 100), st.sampled_from(get_args(Sampling)))
@settings(max_examples=60, deadline=None)
def test_everybody_sees_the_same_pixels_in_the_shared_codes(
    make, height: int, width: int, quality: int, sampling: Sampling
) -> None:
    image = make(height + width, height, width)
    shared = CODEC.encode(image, Coding(quality, sampling)).tobytes()
    expected = pillow(encoded(image, quality=quality, subsampling=sampling))
    np.testing.assert_array_equal(pillow(shared), expected)
    if width >= 5:
        np.testing.assert_array_equal(own(shared), expected)
    assert shared.count(b"\xff\xc4") == 1


@given(SIDES, st.integers(5, 100), st.integers(1, 100), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_samples_on_the_way_are_those_that_readers_see(height: int, width: int, quality: int, halved: bool) -> None:
    image, size = picture(quality, height, width), most_bytes(height, width)
    samples, row = np.zeros(bytes_needed(height, width, halved), np.uint8), np.zeros(3 * (width + 64), np.uint8)
    planes = planes_in(samples, row, height, width, int(halved))
    clean, out, seen = np.empty(size, np.uint8), np.empty(size, np.uint8), np.empty_like(image)
    length = encode(new_encoder(quality, halved, True), image, clean, out, planes)
    paint(planes, seen)
    np.testing.assert_array_equal(seen, pillow(out[:length].tobytes()))


def test_it_follows_the_standard() -> None:
    """As a slow twin reads it."""
    image = picture(5, 37, 45)
    for sampling in get_args(Sampling):
        expected = jpeg_twin.decode(encoded(image, quality=90, subsampling=sampling))
        shared = CODEC.encode(image, Coding(90, sampling)).tobytes()
        np.testing.assert_array_equal(jpeg_twin.decode(shared), expected)


@pytest.mark.parametrize("tables", [SHARED, LUMA, CHROMA], ids=["shared", "luma", "chroma"])
def test_all_that_baseline_has_can_be_written(tables: tuple[bytes, bytes]) -> None:
    for table, symbols in zip(tables, (DC_SYMBOLS, AC_SYMBOLS), strict=True):
        lengths = codes_of(table) & np.uint64(255)
        assert set(np.flatnonzero(lengths)) == set(symbols)
        assert lengths.max() <= (LONGEST if tables is SHARED else 16)
        used = sum(2.0 ** -int(length) for length in lengths[lengths > 0])
        assert used < 1  # the code of ones alone is free (T.81, C.2)
        assert used > 0.99 or tables is not SHARED  # of ours no code is wasted; annex K's are what they are


def test_no_room_is_no_jpeg() -> None:
    image = noise(1, 40, 40)
    clean, row = np.empty(most_bytes(40, 40), np.uint8), np.empty(0, np.uint8)
    samples = np.empty(bytes_needed(40, 40, 1), np.uint8)
    planes = planes_in(samples, row, 40, 40, 1)
    encoder = new_encoder(95, True, True)
    length = encode(encoder, image, clean, np.empty(most_bytes(40, 40), np.uint8), planes)
    for size in range(encoder.head.size, length + 100, 7):
        out = np.zeros(size + 8, np.uint8)
        assert encode(encoder, image, clean, out[:size], planes) in (0, length)
        assert not out[size:].any()


@pytest.mark.skipif(not REAL_DATA.exists(), reason="needs the sample of real images")
def test_photographs_in_both_codes() -> None:
    before = after = 0
    for path in sorted((REAL_DATA / "imagenet-photos").rglob("*.JPEG"))[::10]:
        image = np.ascontiguousarray(pillow(path.read_bytes()))
        if image.ndim == 3:
            standard = CODEC.encode(image, Coding(90, huffman="standard")).tobytes()
            assert standard == encoded(image, quality=90, subsampling="4:2:0"), path
            before += len(standard)
            after += CODEC.encode(image, Coding(90)).size
    assert 0.9 * before < after < before


BOUNDS = """
import numpy as np
from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from tests.image.test_jpeg_encoder import extremes, noise
for height, width in ((1, 1), (7, 33), (16, 32), (40, 56)):
    for coding in (Coding(100), Coding(100, "4:4:4"), Coding(1, huffman="standard")):
        for make in (noise, extremes):
            JpegCodec().encode(make(1, height, width), coding)
"""


def test_nothing_is_read_or_written_beyond_an_array() -> None:
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    program = [sys.executable, "-W", "error", "-c", BOUNDS]
    result = subprocess.run(program, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr
