"""Crops of a split's images: of some samples, as pictures, and from whole images all that a protocol asks for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from imagefeed.pipeline.kernel.recipes import RECIPES
from imagefeed.pipeline.loader.dataset import Dataset


def images_of(dataset: Dataset, ids: Iterable[int]) -> dict[int, np.ndarray]:
    """Samples by their ids, as a net sees them, cut to the centre: id -> uint8 [H, W, 3]. The loader's errors."""
    chosen = sorted(set(ids))
    if not chosen:
        return {}
    crops = centre_crops(dataset, chosen, dtype="uint8", layout="NHWC").numpy()
    return dict(zip(chosen, crops, strict=True))


def centre_crops(dataset: Dataset, ids: Sequence[int], **options: Any) -> Tensor:
    """The centre crops of some samples, ids ascending, [n, ...], from a loader with `options`."""
    loader = dataset.loader(
        recipe="eval",
        sample_ids=ids,
        shuffle=False,
        batch_size=len(ids),
        num_threads=1,
        rank=0,
        world_size=1,
        **options,
    )
    (batch,) = loader
    return batch.images


@dataclass(frozen=True)
class Dense:
    """Which crops: `len(sides)` scales, each with `grid` x `grid` places, each as it is and mirrored."""

    sides: tuple[int, ...] = (256, 288, 320)  # of the scaled image, pixels
    grid: int = 3  # places along a side, the outermost at the edges; 1: the centre


def check_dense(dataset: Dataset, recipe: str, size: int, dense: Dense) -> None:
    """Raises `ValueError` where dense crops of `size` pixels cannot be cut from the stored images."""
    heights, widths = dataset.columns.height, dataset.columns.width
    side = int(heights[0])
    if side == 0 or not ((heights == side) & (widths == side)).all():
        raise ValueError(
            f"{dataset.path}: dense crops need images that are stored square and of one size: leave them out"
        )
    if RECIPES[recipe].mean == "centre":
        raise ValueError(
            f"dense crops need a mean at the crop's own place, which recipe {recipe} has not: leave them out"
        )
    if side < size or min(dense.sides) < size:
        raise ValueError(
            f"dense crops of {size} pixels need images and dense_sides of at least that, not {side} and {dense.sides}"
        )


def crop_starts(side: int, size: int, grid: int) -> list[int]:
    """Where crops of `size` pixels begin along a side."""
    room = side - size
    return [room // 2] if grid == 1 else [i * room // (grid - 1) for i in range(grid)]


def dense_views(whole: Tensor, size: int, dense: Dense) -> Iterator[Tensor]:
    """The crops [B, 3, S, S] of images less their mean, float32 [B, 3, H, W]: by scale, row by row, then mirrored.

    Scaling is linear, so an image less its mean that is scaled is the scaled image less the mean scaled likewise:
    each crop has the mean of its own place and scale. Nothing is rounded to grey levels in between.
    """
    for side in dense.sides:
        scaled = whole
        if whole.shape[2] != side:
            scaled = functional.interpolate(whole, (side, side), mode="bilinear", antialias=True, align_corners=False)
        begins = crop_starts(side, size, dense.grid)
        crops = [scaled[:, :, top : top + size, left : left + size] for top in begins for left in begins]
        for crop in crops:
            yield crop.contiguous()
        for crop in crops:
            yield crop.flip(3).contiguous()


def ten_views(whole: Tensor, size: int) -> list[Tensor]:
    """The paper's ten crops of whole images, in the order of the recipe `ten-crop`, to its bits."""
    room_down, room_right = whole.shape[2] - size, whole.shape[3] - size
    corners = [(0, 0), (0, room_right), (room_down, 0), (room_down, room_right), (room_down // 2, room_right // 2)]
    crops = [whole[:, :, top : top + size, left : left + size] for top, left in corners]
    return [crop.contiguous() for crop in (*crops, *(crop.flip(3) for crop in crops))]
