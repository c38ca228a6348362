"""Exact first and second moments of pixels: integers that add in any order; from them mean, covariance and PCA.

The paper (section 4.1) takes the PCA "on the set of RGB pixel values throughout the ImageNet training set". Sums of
integers are the same for any number of workers, which sums of floating-point numbers are not.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from imagefeed.pipeline.jit.intrinsics import intrinsic
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.simd import Vector, after, load

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # channels whose products are summed up
PIXELS = 16  # at once
MOST_BLOCKS = (2**32 - 1) // 255**2  # of so many pixels, that no lane of 32 bits overflows


@intrinsic
def sum_blocks(context: Any, pixels: Any, count: Any, sums: Any) -> Any:
    """The sums of channels and of `PAIRS` over `count` blocks of `PIXELS` RGB pixels from an address on.

    `sums` is the address of uint32 [9, PIXELS]: a lane for each place in a block.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pixels, count, sums = arguments
        lanes = ir.VectorType(ir.IntType(32), PIXELS)
        totals = [cgutils.alloca_once_value(builder, ir.Constant(lanes, [0] * PIXELS)) for _ in range(3 + len(PAIRS))]
        with cgutils.for_range(builder, count) as loop:
            at = builder.add(pixels, builder.mul(loop.index, loop.index.type(3 * PIXELS)))
            block = load(builder, at, 8, 3 * PIXELS)
            channels = [block.picked(range(channel, 3 * PIXELS, 3)).widened(32, signed=False) for channel in range(3)]
            for total, value in zip(totals, channels + [channels[i] * channels[j] for i, j in PAIRS], strict=True):
                builder.store((Vector(builder, builder.load(total)) + value).value, total)
        for number, total in enumerate(totals):
            Vector(builder, builder.load(total)).store(after(builder, sums, 4 * PIXELS * number))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@njit
def accumulate(image: np.ndarray, sums: np.ndarray, cross: np.ndarray) -> None:
    """Adds one image (uint8 [H, W, 3], contiguous) to `sums` (int64 [3]) and to `cross`, sums of products (int64
    [3, 3])."""
    pixels = image.reshape(-1, 3)
    lanes = np.empty((3 + len(PAIRS), PIXELS), np.uint32)
    totals = np.zeros(3 + len(PAIRS), np.int64)
    blocks = len(pixels) // PIXELS
    for block in range(0, blocks, MOST_BLOCKS):
        count = min(MOST_BLOCKS, blocks - block)
        sum_blocks(pixels.ctypes.data + 3 * PIXELS * block, count, lanes.ctypes.data)
        for number in range(len(totals)):
            for lane in lanes[number]:
                totals[number] += lane
    for pixel in pixels[PIXELS * blocks :]:
        for channel in range(3):
            totals[channel] += pixel[channel]
        for number, (i, j) in enumerate(PAIRS):
            totals[3 + number] += np.int64(pixel[i]) * np.int64(pixel[j])
    sums += totals[:3]
    for number, (i, j) in enumerate(PAIRS):
        cross[i, j] += totals[3 + number]
        if i != j:
            cross[j, i] += totals[3 + number]


@njit
def accumulate_pixels(image: np.ndarray, pixel_sum: np.ndarray) -> None:
    """Adds one image (uint8 [H, W, 3]) to the sum at each place (uint32 [H, W, 3]; exact for 16 million images)."""
    flat_image, flat_sum = image.reshape(-1), pixel_sum.reshape(-1)
    for i in range(flat_image.size):
        flat_sum[i] += flat_image[i]


@dataclass
class Moments:
    """Running moments of images; `+` merges two of them exactly."""

    num_pixels: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    cross: np.ndarray = field(default_factory=lambda: np.zeros((3, 3), np.int64))

    def add(self, image: np.ndarray) -> None:
        """Counts in one image, uint8 [H, W, 3]."""
        self.num_pixels += image.shape[0] * image.shape[1]
        accumulate(np.ascontiguousarray(image), self.sums, self.cross)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.num_pixels + other.num_pixels, self.sums + other.sums, self.cross + other.cross)

    def to_json(self) -> dict:
        """`num_pixels`, `sums` [3] and `cross` [3][3] as exact integers."""
        return {"num_pixels": self.num_pixels, "sums": self.sums.tolist(), "cross": self.cross.tolist()}

    @staticmethod
    def from_json(record: dict) -> "Moments":
        """The inverse of `to_json`."""
        return Moments(record["num_pixels"], np.array(record["sums"]), np.array(record["cross"]))


@dataclass
class PixelSums:
    """The sum over images at each place, while they are all of one size; `+` merges two of them exactly."""

    sums: np.ndarray | None = None  # uint32 or int64 [H, W, 3]; None before the first image, and once `mixed`
    mixed: bool = False  # images of several sizes have no mean image

    def add(self, image: np.ndarray) -> None:
        """Counts in one image, uint8 [H, W, 3]; exact for 16 million images."""
        if self.sums is None and not self.mixed:
            self.sums = np.zeros(image.shape, np.uint32)
        if self.sums is None or self.sums.shape != image.shape:
            self.sums, self.mixed = None, True
        else:
            accumulate_pixels(image, self.sums)

    def __add__(self, other: "PixelSums") -> "PixelSums":
        if self.sums is None or other.sums is None:
            mixed = self.mixed or other.mixed
            return PixelSums(None if mixed else self.sums if other.sums is None else other.sums, mixed)
        if self.sums.shape != other.sums.shape:
            return PixelSums(None, True)
        return PixelSums(self.sums.astype(np.int64) + other.sums)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Pixel statistics of a split, over the stored images as they decode.

    Units: grey levels, 0 to 255; covariance and eigenvalues in grey levels squared. Channels R, G, B.
    """

    num_pixels: int
    sums: tuple[int, ...]  # [3]
    cross: tuple[tuple[int, ...], ...]  # [3][3], sum over pixels of channel_i * channel_j
    mean: tuple[float, ...]  # [3]
    covariance: tuple[tuple[float, ...], ...]  # [3][3], divided by num_pixels
    eigenvalues: tuple[float, ...]  # [3], largest first
    eigenvectors: tuple[tuple[float, ...], ...]  # [3][3]; column j belongs to eigenvalue j, largest entry positive


def statistics(moments: Moments) -> Statistics:
    """Mean, covariance and PCA from exact moments.

    Mean and covariance are the exact fractions, rounded once. The eigenvectors are rounded to 12 digits, because the
    last bits of a LAPACK result depend on the processor and these go into a file that must not.
    """
    n, sums, cross = moments.num_pixels, moments.sums.tolist(), moments.cross.tolist()
    if n == 0:
        raise ValueError("statistics of no pixels: not one image of the split could be used")
    covariance = [[float(Fraction(n * cross[i][j] - sums[i] * sums[j], n * n)) for j in range(3)] for i in range(3)]
    values, vectors = np.linalg.eigh(np.array(covariance))
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(3)])
    return Statistics(
        num_pixels=n,
        sums=tuple(sums),
        cross=tuple(map(tuple, cross)),
        mean=tuple(float(Fraction(s, n)) for s in sums),
        covariance=tuple(map(tuple, covariance)),
        eigenvalues=tuple(max(0.0, float(f"{value:.12g}")) for value in values),
        eigenvectors=tuple(tuple(float(f"{entry:.12f}") for entry in row) for row in vectors),
    )
