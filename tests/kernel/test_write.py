"""The one write gives the very bits that crop, mirror, mean, colour, type and layout give as separate passes."""

import numpy as np
import pytest
import torch
from numba import njit

from imagefeed.pipeline.jit.views import address_of
from imagefeed.pipeline.kernel.write import (
    FLOAT32,
    View,
    both_means,
    flip_row,
    image_source,
    new_row_buffers,
    write_view,
)
from imagefeed.pipeline.loader.buffers import DTYPES
from tests.support import reference

Window = tuple[int, int, int]  # top, left, mirror


@njit
def write(image, view, buffers, means, scale, out, kind, planes_first):
    write_view(image_source(image), view, buffers, means, scale, address_of(out), kind, planes_first)


def written(
    image: np.ndarray,
    window: Window,
    colour: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    size: int,
    dtype: str,
    layout: str,
):
    """One view by the fast path, as a tensor; the mean is that of the window's place."""
    planes, kind = layout == "NCHW", DTYPES[dtype]
    tensor = torch.zeros((3, size, size) if planes else (size, size, 3), dtype=kind.tensor)
    out = tensor.view(torch.uint8).numpy().reshape(-1)
    buffers = new_row_buffers(size)
    buffers.colour[:] = np.tile(colour, size)
    top, left, mirror = window
    view = View(top, left, mirror, top, image.shape[1] - size - left if mirror else left)
    write(image, view, buffers, both_means(mean, planes), np.tile(scale, size), out, kind.kind, planes)
    return tensor


def expected(image, window, colour, mean, scale, size, dtype, layout):
    """The same by the slow twin."""
    top, left, mirror = window
    place = (top, left, size, size, mirror)
    pixels, mean = reference.cut(image, place, size, False), reference.cut(mean, place, size, False)
    return reference.augment(pixels, mirror, colour, mean, scale, dtype, layout)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
    )


# height, width, size: the paper's; a size that is no multiple of the shuffle of 16 pixels; nothing but a tail; no room
# at all; a single pixel; and a rectangle.
SHAPES = [(256, 256, 224), (40, 40, 37), (12, 12, 7), (32, 32, 32), (3, 3, 1), (20, 45, 19)]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_one_write_is_the_slow_twin_bit_for_bit(dtype: str, layout: str) -> None:
    for height, width, size in SHAPES:
        rng = np.random.default_rng(height)
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        mean = rng.uniform(0, 255, image.shape).astype(np.float32)
        colour = rng.normal(0, 12, 3).astype(np.float32)
        scale = rng.uniform(0.01, 1, 3).astype(np.float32)
        corners = [(y, x) for y in {0, height - size} for x in {0, width - size}]
        for top, left in [*corners, (min(1, height - size), min(2, width - size))]:
            for mirror in (0, 1):
                case = (image, (top, left, mirror), colour, mean, scale, size, dtype, layout)
                assert same_bits(written(*case), expected(*case)), (height, width, size, top, left, mirror)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_round_ties_to_even_and_keep_tiny_values(dtype: str) -> None:
    # 2**16 values of every size: exact ones, ties between two halves, next to ties, subnormal for fp16, and both zeros.
    rng = np.random.default_rng(0)
    bits = (rng.integers(0, 2**16, (128, 128, 3)).astype(np.uint32) << 16) | rng.choice(
        [0, 0x8000, 0x7FFF, 0x8001, 0x1000, 0x3000, 0x0FFF], (128, 128, 3)
    ).astype(np.uint32)
    values = bits.view(np.float32)
    mean = np.where(np.abs(values) < 6e4, values, np.float32(1) / 3).astype(np.float32)
    nothing, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    case = (np.zeros(mean.shape, np.uint8), (0, 0, 0), nothing, mean, ones, 128, dtype, "NHWC")
    assert same_bits(written(*case), expected(*case))


def test_a_mirrored_row_read_again_is_the_row() -> None:
    for width in range(1, 70):
        row = np.random.default_rng(width).integers(0, 256, 3 * width, np.uint8)
        once, twice = np.empty_like(row), np.empty_like(row)
        flip_row(row, once)
        flip_row(once, twice)
        assert (once.reshape(-1, 3) == row.reshape(-1, 3)[::-1]).all() and (twice == row).all()


def test_the_write_stays_within_its_crop() -> None:
    """A neighbour's memory is not touched: guards around the output keep their value."""
    image = np.full((48, 48, 3), 7, np.uint8)
    guarded = np.full((3, 40, 40), -1, np.float32)
    out = guarded[1]
    rows = out.reshape(-1)[: 18 * 18 * 3]
    write(
        image,
        View(30, 30, 1, 30, 0),
        new_row_buffers(18)._replace(colour=np.zeros(54, np.float32)),
        both_means(np.zeros(image.shape, np.float32), False),
        np.ones(54, np.float32),
        rows.view(np.uint8),
        FLOAT32,
        False,
    )
    assert (rows == 7).all() and (guarded[0] == -1).all() and (guarded[2] == -1).all()
    assert (out.reshape(-1)[18 * 18 * 3 :] == -1).all()
