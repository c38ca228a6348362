"""Resized pixels are Pillow's, pass by pass, bit for bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.image.resample import filter_weights, resample
from tests.support import reference

SIDES = st.integers(1, 90)


def resampled(image: np.ndarray, window: tuple, size: int, crop_first: bool, bicubic: bool = False) -> np.ndarray:
    out = np.empty((size, size, 3), np.uint8)
    resample(image, np.array(window[:4], float), crop_first, out, bicubic)
    return out


@given(
    height=SIDES,
    width=SIDES,
    size=SIDES,
    seed=st.integers(0, 2**32 - 1),
    crop_first=st.booleans(),
    bicubic=st.booleans(),
)
def test_any_window_is_pillows(height: int, width: int, size: int, seed: int, crop_first: bool, bicubic: bool) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    down, across = rng.uniform(0.2, 1) * height, rng.uniform(0.2, 1) * width
    top, left = rng.uniform(0, 1) * (height - down), rng.uniform(0, 1) * (width - across)
    if crop_first:
        top, left, down, across = int(top), int(left), max(1, int(down)), max(1, int(across))
    window = (top, left, down, across, 0)
    expected = reference.cut(image, window, size, crop_first, reference.BICUBIC if bicubic else reference.BILINEAR)
    assert (resampled(image, window, size, crop_first, bicubic) == expected).all()


def test_a_photographs_usual_size() -> None:
    image = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    for window in ((0.0, 62.5, 375.0, 375.0, 0), (17.25, 3.5, 328.125, 328.125, 0)):
        assert (resampled(image, window, 224, False) == reference.cut(image, window, 224, False)).all()


def test_no_pixel_of_the_window_is_passed_over() -> None:
    """Antialiasing: every pixel under the window weighs in, and each output's weights are one."""
    firsts, taps, weights = filter_weights(1000, 0.0, 1000.0, 7)
    reached = np.zeros(1000, bool)
    for first, count, row in zip(firsts, taps, weights, strict=True):
        reached[first : first + count] |= row[:count] > 0
        assert abs(row[:count].sum() - 2**22) <= count
    assert reached.all()


def test_what_lies_beyond_the_window_counts_only_where_it_is_not_cropped_first() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 20:40] = 200
    window = (20, 20, 20, 20, 0)
    assert (resampled(image, window, 8, True) == 200).all()
    assert (resampled(image, window, 8, False)[0] < 200).all()
