"""Our JPEG decoder beside libjpeg-turbo, bit for bit, and beside a slow twin; what it does with damaged bytes."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from PIL import Image

from imagefeed.pipeline.image.decoder import Decoder, decode_part, examine, new_decoder, planes_of
from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.jpeg.huffman_tables import OTHERS_WINDOW, WINDOW
from imagefeed.pipeline.image.jpeg.planes import pixel_row
from imagefeed.pipeline.image.stored import HuffmanTables
from imagefeed.pipeline.image.turbojpeg import OK, decompress, jpeg_size
from imagefeed.pipeline.jit.views import array_at
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from tests.conftest import REAL_DATA, encoded, picture
from tests.support import jpeg_twin

ROOM = 1 << 16  # pixels


@njit  # not kept on disk, where it would outlive what it is compiled with
def part(decoder: Decoder, data: np.ndarray, window: np.ndarray, whole: bool, out: np.ndarray) -> bool:
    """Decodes the part of an image that is as large as `out` (uint8 [h, w, 3]) with our own decoder alone."""
    found = examine(decoder, data)
    if not decode_part(decoder, found, data, window, whole):
        return False
    planes = planes_of(decoder, found)
    for y in range(out.shape[0]):
        top, left = int(window[0, 0]), int(window[0, 1])
        at = pixel_row(planes, top + y, left, out.shape[1], planes.row.ctypes.data)
        row = array_at(at, 3 * out.shape[1], out)
        for x in range(3 * out.shape[1]):
            out[y, x // 3, x % 3] = row[x]
    return True


def own(
    data: bytes, box: tuple[int, int, int, int] | None = None, whole: bool = True, window: int = WINDOW
) -> np.ndarray | None:
    """What our decoder makes of `data` within `box` (top, left, height, width); None where it refuses."""
    array = np.frombuffer(data, np.uint8)
    decoder = new_decoder("own", ROOM, window)
    found = examine(decoder, array)
    if not found.own:  # also images that damage has made too large
        return None
    top, left, height, width = box or (0, 0, found.height, found.width)
    out = np.empty((height, width, 3), np.uint8)
    view = np.array([[top, left, height, width, 0]], float)
    return out if part(decoder, array, view, whole, out) else None


def turbo(data: bytes) -> np.ndarray | None:
    """What libjpeg-turbo makes of `data`; None where it fails or warns."""
    array = np.frombuffer(data, np.uint8)
    state, height, width = jpeg_size(array)
    out = np.zeros((height, width, 3), np.uint8)
    return out if state == OK and decompress(array, out) == OK else None


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    """Baseline JPEGs of all the forms that the decoder takes."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(5, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise = draw(st.sampled_from([0, 20, 255]))  # smooth, photograph, the longest codes
    image = picture(int(rng.integers(1 << 30)), height, width).astype(int) + rng.integers(
        -noise, noise + 1, (height, width, 3)
    )
    options: dict[str, Any] = {
        "quality": draw(st.integers(1, 100)),
        "subsampling": draw(st.sampled_from(["4:2:0", "4:4:4"])),
    }
    options |= {"optimize": draw(st.booleans())}
    options |= draw(st.sampled_from([{}, {"restart_marker_blocks": 1}, {"restart_marker_rows": 1}]))
    return encoded(np.clip(image, 0, 255).astype(np.uint8), **options)


@given(jpegs())
@settings(max_examples=150)
def test_every_form_is_decoded_as_libjpeg_turbo_does(data: bytes) -> None:
    np.testing.assert_array_equal(own(data), turbo(data))


@given(jpegs(), st.data(), st.booleans())
@settings(max_examples=100)
def test_a_part_is_that_part_of_the_whole(data: bytes, random: st.DataObject, whole: bool) -> None:
    image = turbo(data)
    assert image is not None
    height, width = image.shape[:2]
    top, left = random.draw(st.integers(0, height - 1)), random.draw(st.integers(0, width - 1))
    down, across = random.draw(st.integers(1, height - top)), random.draw(st.integers(1, width - left))
    expected = image[top : top + down, left : left + across]
    np.testing.assert_array_equal(own(data, (top, left, down, across), whole), expected)


@pytest.mark.parametrize("options", [{}, {"subsampling": "4:4:4"}, {"restart_marker_blocks": 2, "optimize": True}])
def test_it_follows_the_standard(options: dict[str, Any]) -> None:
    data = encoded(picture(5, 37, 45), quality=90, **options)
    np.testing.assert_array_equal(own(data), jpeg_twin.decode(data))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": "4:2:2"}])
def test_what_is_of_another_form_is_left_to_libjpeg_turbo(mode: str, options: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(1, 32, 32)).convert(mode).save(buffer, "JPEG", **options)
    assert own(buffer.getvalue()) is None


@pytest.mark.parametrize("huffman", get_args(HuffmanTables))
@pytest.mark.parametrize("window", [8, 10, OTHERS_WINDOW, 14])
def test_codes_may_be_longer_or_shorter_than_the_window(window: int, huffman: HuffmanTables) -> None:
    image = np.random.default_rng(1).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    for quality in (60, 100):
        data = JpegCodec().encode(image, Coding(quality, huffman=huffman)).tobytes()
        np.testing.assert_array_equal(own(data, window=window), turbo(data))


def test_two_columns_of_chroma_are_left_to_libjpeg_turbo() -> None:
    assert own(encoded(picture(1, 32, 4))) is None  # which does not smooth them


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` with a byte changed, inserted or lost, or cut short."""
    at = int(rng.integers(2, len(data)))
    byte = bytes([int(rng.integers(256))])
    return [data[:at] + byte + data[at + 1 :], data[:at] + byte + data[at:], data[:at] + data[at + 1 :], data[:at]][
        int(rng.integers(4))
    ]


@given(jpegs(), st.integers(0, 2**32))
@settings(max_examples=400)
def test_damage_is_never_decoded_otherwise(data: bytes, seed: int) -> None:
    data = damaged(data, np.random.default_rng(seed))
    image = own(data)
    if image is not None:
        np.testing.assert_array_equal(image, turbo(data))


def test_much_damage_to_one_image() -> None:
    data, rng = encoded(picture(1, 36, 29), quality=95), np.random.default_rng(0)
    refused = 0
    for _ in range(6000):  # a run of zeros beyond a block that another code hides comes once in a thousand
        spoilt = damaged(data, rng)
        image = own(spoilt)
        refused += image is None
        if image is not None:
            np.testing.assert_array_equal(image, turbo(spoilt))
    assert 3000 < refused < 6000


def test_coefficients_beyond_any_images_are_left_to_libjpeg_turbo() -> None:
    data = bytearray(encoded(picture(1, 32, 32), quality=98))
    for table in range(2):
        at = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xdb"][table] + 5
        data[at : at + 64] = b"\xff" * 64  # libjpeg-turbo's vectors overflow with these in a way of their own
    assert turbo(bytes(data)) is not None and own(bytes(data)) is None


BOUNDS = """
import sys
import numpy as np
from tests.image.test_jpeg_decoder import damaged, own
from tests.conftest import encoded, picture
rng = np.random.default_rng(1)
refused = 0
for seed in range(40):
    for options in ({}, {"subsampling": "4:4:4", "restart_marker_blocks": 2}):
        data = encoded(picture(seed, 40, 56), quality=95, **options)
        assert own(data) is not None
        for _ in range(20):
            refused += own(damaged(data, rng)) is None
assert refused > 400, refused
"""


def test_damage_reaches_beyond_no_array() -> None:
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    program = [sys.executable, "-W", "error", "-c", BOUNDS]
    result = subprocess.run(program, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not REAL_DATA.exists(), reason="needs the sample of real images")
def test_real_photographs() -> None:
    codec = JpegCodec()
    for number, path in enumerate(sorted((REAL_DATA / "imagenet-photos").rglob("*.JPEG"))):
        data = path.read_bytes()
        image = turbo(data)
        if image is None or image.shape[0] < 256 or image.shape[1] < 256:
            continue
        square = np.ascontiguousarray(image[:256, :256])
        written = codec.encode(square, Coding((90, 75, 98)[number % 3])).tobytes()
        np.testing.assert_array_equal(own(written), turbo(written), err_msg=path.name)


@pytest.mark.parametrize("recipe", ["alexnet", "resnet", "ten-crop"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_both_decoders_give_the_same_batches(shards: Path, recipe: Any, layout: Any) -> None:
    train: Dataset = open_dataset(shards / "tar" / "train")
    batches = [
        [
            batch.images
            for batch in train.loader(recipe=recipe, layout=layout, dtype="float16", batch_size=9, decoder=decoder)
        ]
        for decoder in ("own", "turbojpeg")
    ]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True)) and len(batches[0]) > 1
