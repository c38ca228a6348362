"""The one definition of what an odd file's pixels are, and the paper's geometry against a slow twin."""

import io

import numpy as np
import pytest
from PIL import Image

from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.pillow import SIZE, BadImage, load_rgb, load_square
from tests.conftest import REAL_DATA, encoded, picture


def triangle_weights(length: int, start: float, extent: float, size: int) -> np.ndarray:
    """The slow twin's weights, float64 [size, length]: an antialiased triangle filter over [start, start + extent)."""
    scale = extent / size
    support = max(scale, 1.0)
    centres = start + (np.arange(size)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(length)[None] + 0.5 - centres) / support
    weights = np.maximum(0, 1 - distance)
    return weights / weights.sum(axis=1, keepdims=True)


def square_twin(image: np.ndarray) -> np.ndarray:
    """`load_square` on pixels, in float64."""
    height, width = image.shape[:2]
    side = min(height, width)
    rows = triangle_weights(height, (height - side) / 2, side, SIZE)
    columns = triangle_weights(width, (width - side) / 2, side, SIZE)
    return np.einsum("yh,hwc,xw->yxc", rows, image.astype(np.float64), columns, optimize=True)


# Reduced, enlarged, left alone; landscape, portrait, a side that leaves half a pixel over; the smallest.
@pytest.mark.parametrize(("height", "width"), [(500, 375), (333, 500), (64, 64), (256, 256), (257, 300), (1, 1)])
def test_paper_geometry(height: int, width: int) -> None:
    image = picture(height, height, width)
    result = load_square(encoded(image, "PNG"))
    assert result.shape == (SIZE, SIZE, 3) and result.dtype == np.uint8
    np.testing.assert_allclose(result, square_twin(image), atol=1.01)  # rounded after each of the two passes


def test_an_image_of_the_stored_size_is_untouched() -> None:
    image = picture(1, SIZE, SIZE)
    np.testing.assert_array_equal(load_square(encoded(image, "PNG")), image)


def test_grey_becomes_three_equal_channels() -> None:
    grey = picture(2, SIZE, SIZE)[:, :, 1]
    for kind in ("PNG", "JPEG"):
        result = load_square(encoded(grey, kind))
        assert (result == result[:, :, :1]).all()
    np.testing.assert_array_equal(load_square(encoded(grey, "PNG"))[:, :, 0], grey)


def test_16_bit_grey_keeps_its_upper_byte() -> None:
    grey = picture(2, SIZE, SIZE)[:, :, 1].astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(load_square(encoded(grey, "PNG"))[:, :, 0], grey >> 8)


def test_cmyk_is_taken_as_adobe_writes_it() -> None:
    # Pillow writes CMYK JPEGs inverted, as Adobe does; flat colour, so that the codec's loss is no matter.
    ink = np.full((SIZE, SIZE, 4), (200, 30, 90, 40), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(ink, "CMYK").save(buffer, "JPEG", quality=100)
    expected = (255 - np.array((200, 30, 90))) * (255 - 40) / 255
    np.testing.assert_allclose(load_square(buffer.getvalue()), np.broadcast_to(expected, (SIZE, SIZE, 3)), atol=1)


def test_alpha_is_dropped_and_a_palette_looked_up() -> None:
    image = picture(4, SIZE, SIZE)
    clear = np.dstack([image, np.zeros((SIZE, SIZE), np.uint8)])
    np.testing.assert_array_equal(load_square(encoded(clear, "PNG")), image)
    palette = Image.fromarray(image).quantize(16)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=b"\x00\x80\xff")
    np.testing.assert_array_equal(load_square(buffer.getvalue()), np.asarray(palette.convert("RGB")))


def test_exif_rotation_is_ignored() -> None:
    image = picture(6, 300, 400)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees"
    turned, plain = encoded(image, exif=exif), encoded(image)
    assert turned != plain
    np.testing.assert_array_equal(load_square(turned), load_square(plain))


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"text"])
def test_what_does_not_decode_is_a_bad_image_with_a_stable_reason(damage) -> None:
    data = damage(encoded(picture(7, 300, 300)))
    reasons = set()
    for _ in range(3):
        with pytest.raises(BadImage) as caught:
            load_square(bytes(bytearray(data)))
        reasons.add(str(caught.value))
    assert len(reasons) == 1 and "0x" not in reasons.pop()  # it goes into a file whose bytes are to be the same


def test_no_file_is_a_program() -> None:
    with pytest.raises(BadImage, match="no image format"):
        load_square(encoded(picture(3, 20, 20), "EPS"))


def test_encoding_is_baseline_420() -> None:
    data = JpegCodec().encode(picture(8, SIZE, SIZE), Coding(90)).tobytes()
    image = Image.open(io.BytesIO(data))
    layers = image.layer  # type: ignore[attr-defined]
    assert [layer[1:3] for layer in layers] == [(2, 2), (1, 1), (1, 1)]
    assert "progressive" not in image.info


# The same definition at speed


def test_libjpeg_turbo_alone_gives_pillows_pixels_or_leaves_it_to_pillow() -> None:
    codec, image = JpegCodec(), picture(9, 211, 317)
    for options in ({}, {"quality": 60}, {"progressive": True}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}):
        data = encoded(image, **options)
        decoded = codec.decode(data, 10**6)
        assert decoded is not None and (decoded == load_rgb(data)).all()
    grey = encoded(image[:, :, 0])
    decoded = codec.decode(grey, 10**6)
    assert decoded is not None and (decoded == load_rgb(grey)).all()
    cmyk = encoded(np.asarray(Image.fromarray(image).convert("CMYK")), mode="CMYK")
    damaged = bytearray(encoded(image))
    damaged[-200:-100] = bytes(100)
    for other in (cmyk, encoded(image, "PNG"), bytes(damaged), b"", encoded(image)[:-500]):
        assert codec.decode(other, 10**6) is None
    assert codec.decode(encoded(image), 211 * 317 - 1) is None  # too large for the caller


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs real photographs")
def test_libjpeg_turbo_alone_gives_pillows_pixels_of_real_photographs() -> None:
    codec = JpegCodec()
    for path in sorted(REAL_DATA.glob("imagenet-photos/*/*.JPEG"))[:60]:
        decoded = codec.decode(path.read_bytes(), 10**8)
        assert decoded is not None and (decoded == load_rgb(path.read_bytes())).all(), path


def test_our_jpegs_decode_to_the_pixels_of_pillows() -> None:
    codec, image = JpegCodec(), picture(3, 256, 256)
    for quality in (1, 50, 90, 100):
        ours = np.asarray(Image.open(io.BytesIO(codec.encode(image, Coding(quality)).tobytes())))
        pillows = np.asarray(Image.open(io.BytesIO(encoded(image, quality=quality, subsampling="4:2:0"))))
        assert (ours == pillows).all()
