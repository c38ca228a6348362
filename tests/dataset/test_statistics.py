"""Moments are exact and add in any order; the PCA is NumPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.dataset.statistics import Moments, accumulate_pixels, statistics


def noise(seed: int, height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def moments_of(images: list[np.ndarray]) -> Moments:
    moments = Moments()
    for image in images:
        moments.add(image)
    return moments


# One pixel; a common size; so much white that sums of 32 bits would overflow.
@pytest.mark.parametrize("image", [noise(0, 1, 1), noise(1, 256, 256), np.full((17, 65535, 3), 255, np.uint8)])
def test_moments_are_exact(image: np.ndarray) -> None:
    moments = moments_of([image])
    pixels = image.reshape(-1, 3).astype(np.int64)
    assert moments.num_pixels == len(pixels)
    np.testing.assert_array_equal(moments.sums, pixels.sum(axis=0))
    np.testing.assert_array_equal(moments.cross, pixels.T @ pixels)


@given(st.permutations(range(6)), st.integers(0, 6))
def test_merging_does_not_depend_on_order_or_grouping(order: list[int], cut: int) -> None:
    images = [noise(i) for i in range(6)]
    shuffled = [images[i] for i in order]
    merged = moments_of(shuffled[:cut]) + moments_of(shuffled[cut:])
    assert merged.to_json() == moments_of(images).to_json()
    assert Moments.from_json(merged.to_json()).to_json() == merged.to_json()


def test_statistics_are_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    mixed = rng.normal(0, 30, (100, 100, 3)) @ np.array([[1, 0.8, 0.6], [0, 0.5, 0.2], [0, 0, 0.3]]) + 120
    image = mixed.clip(0, 255).astype(np.uint8)
    result = statistics(moments_of([image]))
    pixels = image.reshape(-1, 3).astype(np.float64)
    covariance = np.cov(pixels.T, bias=True)
    np.testing.assert_allclose(result.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-9)
    vectors, values = np.array(result.eigenvectors), np.array(result.eigenvalues)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, covariance, atol=1e-6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-9)
    assert (vectors[np.abs(vectors).argmax(axis=0), range(3)] > 0).all()


def test_one_colour_has_no_variance() -> None:
    result = statistics(moments_of([np.full((4, 4, 3), 7, np.uint8)]))
    assert result.eigenvalues == (0.0, 0.0, 0.0)
    assert result.mean == (7.0, 7.0, 7.0)


def test_no_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        statistics(Moments())


def test_pixel_sums_are_exact() -> None:
    images = [noise(i) for i in range(300)]
    total = np.zeros((5, 7, 3), np.uint32)
    for image in images:
        accumulate_pixels(image, total)
    np.testing.assert_array_equal(total, np.sum(images, axis=0, dtype=np.int64))
