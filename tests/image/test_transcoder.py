"""The one compiled call of conversion beside its slow twin: decode as a whole, resample, encode, each by itself."""

import io
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.image.jpeg.codec import Coding, JpegCodec
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.image.resample import resample
from imagefeed.pipeline.image.resize import Resize, crop_geometry
from imagefeed.pipeline.image.stored import HuffmanTables, Sampling
from imagefeed.pipeline.image.transcode_kernel import new_scratch, transcode, with_room
from imagefeed.pipeline.image.transcoder import NO_IMAGE, Transcoder
from imagefeed.pipeline.image.turbojpeg import CORRUPT, OK
from tests.conftest import REAL_DATA, encoded, picture

CODEC = JpegCodec()


def preparer(resize: str, raw: bool = False) -> Transcoder:
    format: Format = "beton" if raw else "tar"
    options = ConvertOptions(resize=resize, raw=raw, format=format)
    return Transcoder(options.storage(), decode_all=options.decode_all, for_beton=format == "beton")


def twin(data: bytes, resize: str) -> np.ndarray:
    """The resized pixels, step by step (uint8 [height, width, 3])."""
    image = load_rgb(data)
    window, height, width = crop_geometry(Resize.parse(resize).rule, *image.shape[:2])
    resized = np.empty((height, width, 3), np.uint8)
    resample(np.ascontiguousarray(image), window, False, resized)
    return resized


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """What is decoded by us, by libjpeg-turbo and by Pillow; landscape, portrait, of sizes that fill no block."""
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    pixels = picture(draw(st.integers(0, 2**30)), height, width)
    kinds: list[dict[str, Any]] = [
        {"subsampling": "4:2:0"},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:4:4", "restart_marker_blocks": 3},
        {"subsampling": "4:2:2"},
        {"progressive": True},
        {"kind": "PNG"},
    ]
    return encoded(pixels, **draw(st.sampled_from(kinds)))


@given(images(), st.sampled_from(["short:40", "long:64", "short:100", "paper"]))
@settings(max_examples=60, deadline=None)
def test_what_is_stored_is_what_the_slow_twin_makes(data: bytes, resize: str) -> None:
    made, resized = preparer(resize).prepare(data), twin(data, resize)
    assert bytes(made.payload) == CODEC.encode(resized, Coding(90)).tobytes()
    assert made.pixels is not None and (made.pixels == np.asarray(Image.open(io.BytesIO(made.payload)))).all()
    assert (np.frombuffer(preparer(resize, raw=True).prepare(data).payload, np.uint8) == resized.reshape(-1)).all()


@pytest.mark.parametrize("sampling", ["4:2:0", "4:4:4"])
def test_the_codes_change_bytes_and_no_pixel(sampling: Sampling) -> None:
    data = encoded(picture(1, 150, 90), quality=95)
    payloads = []
    for huffman in get_args(HuffmanTables):
        options = ConvertOptions(sampling=sampling, huffman=huffman)
        payloads.append(bytes(Transcoder(options.storage(), decode_all=True, for_beton=False).prepare(data).payload))
    shared, standard = (Image.open(io.BytesIO(payload)) for payload in payloads)
    assert payloads[0] != payloads[1] and (np.asarray(shared) == np.asarray(standard)).all()
    assert {JpegImagePlugin.get_sampling(image) for image in (shared, standard)} == {2 if sampling == "4:2:0" else 0}


def test_a_desk_serves_images_of_any_size_after_each_other() -> None:
    one = preparer("short:60")
    for height, width in ((70, 90), (300, 500), (61, 61), (5, 900), (900, 5), (70, 90)):
        data = encoded(picture(height, height, width))
        assert bytes(one.prepare(data).payload) == CODEC.encode(twin(data, "short:60"), Coding(90)).tobytes()


@pytest.mark.parametrize("part", [0.5, 0.97])
def test_what_is_cut_short_is_refused(part: float) -> None:
    data = encoded(picture(3, 400, 64), quality=95)
    with pytest.raises(BadImage, match="truncated"):
        preparer("paper").prepare(data[: int(len(data) * part)])


def test_damage_outside_of_the_crop_is_seen() -> None:
    """Blocks at the foot of a tall image are not looked at; what is wrong with their bytes is, and Pillow judges it."""
    data = np.frombuffer(encoded(picture(3, 400, 64), quality=95), np.uint8).copy()
    rule, scratch = Resize.parse("paper").rule, new_scratch(Coding(90).encoder())
    scratch = with_room(scratch, transcode(scratch, data, NO_IMAGE, rule, True))
    assert transcode(scratch, data, NO_IMAGE, rule, True).state == OK
    data[-300:-200] = 0
    assert transcode(scratch, data, NO_IMAGE, rule, True).state == CORRUPT


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs real photographs")
def test_real_photographs() -> None:
    one = preparer("paper")
    for path in sorted(REAL_DATA.glob("imagenet-photos/*/*.JPEG"))[::4]:
        data = path.read_bytes()
        assert bytes(one.prepare(data).payload) == CODEC.encode(twin(data, "paper"), Coding(90)).tobytes(), path
