"""The last part of the fused write, on the device: uint8 crops become values there.

A quarter of fp32's bytes then cross the bus, half of fp16's. What was drawn for each sample follows from (seed, epoch,
id). So it is drawn here once more, in microseconds, and no batch has to carry it: the values are those of the loader
itself, to the bit.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.kernel.recipes import Rules, colour, decide
from imagefeed.pipeline.loader.batches import BatchLoader
from imagefeed.pipeline.loader.normalization import normalizations


class CropParams(NamedTuple):
    """What `normalize` needs to know of n crops of S pixels, on the device of the crops."""

    top: Tensor  # int64 [n], where the crop's part of the mean image begins
    left: Tensor  # int64 [n]
    mirror: Tensor  # bool [n]
    colour: Tensor  # float32 [n, 3], added to R, G and B


def normalize(crops: Tensor, what: CropParams, mean: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """`((pixel - mean) + colour) * scale` in float32, rounded once to `dtype`, as `kernel.write` defines it.

    crops  uint8 [n, S, S, 3], mirrored already
    mean   float32 [H, W, 3]; a crop's part is mirrored with it
    scale  float32 [3]
    """
    size = crops.shape[1]
    steps = torch.arange(size, device=crops.device)
    rows = what.top[:, None] + steps
    columns = what.left[:, None] + torch.where(what.mirror[:, None], size - 1 - steps, steps)
    values = crops.to(torch.float32)
    values -= mean[rows[:, :, None], columns[:, None, :]]
    values += what.colour[:, None, None, :]
    values *= scale
    return values.to(dtype)


class DeviceNormalize:
    """Makes of a loader's uint8 batches what the loader itself would give with the type `dtype`.

    They lie pixel by pixel, NHWC or channels_last. Raises `ValueError` where the loader gives something else, or the
    dataset lacks the statistics.
    """

    def __init__(self, loader: BatchLoader, dtype: str, device: torch.device) -> None:
        options = loader.options
        once = options.per_class is None and loader.dataset.mixture is None
        plain = once and options.on_error == "raise" and not callable(options.crop_size)
        if options.dtype != "uint8" or options.layout == "NCHW" or not plain:
            raise ValueError(
                "what is finished on the device comes as dtype='uint8', layout='NHWC' or 'channels_last', "
                "without per_class and on_error='skip', in one crop_size, and of no mix"
            )
        if not loader.dataset.sizes_known:
            raise ValueError(f"{loader.dataset.called} does not tell its images' sizes: finish them on the CPU")
        self._loader, self._recipe, self._device = loader, options.settled, device
        self._normalizations = normalizations(loader.dataset, replace(options, dtype="float32"))
        self._dtype = getattr(torch, dtype)
        self._mean = torch.tensor(self._normalizations[0].means[0], device=device)  # the second is mirrored
        self._scales = [torch.tensor(normalization.scale[:3], device=device) for normalization in self._normalizations]

    def __call__(self, images: Tensor, ids: np.ndarray, *, seed: int, epoch: int, position: int) -> Tensor:
        """`images` (uint8 [B, ...] as the loader gives them, on the device) of the samples `ids` (int64 [B], -1 at the
        end for padding) in the type asked for; `position` is that of this rank's first sample in the epoch."""
        planes_first = self._loader.options.layout == "channels_last"
        if planes_first:
            images = images.movedim(-3, -1)  # as they lie in memory
        size, views = images.shape[-2], images.shape[1] if images.ndim == 5 else 1
        without_colour = not self._loader.options.has_colour(epoch)
        normalization, scale = self._normalizations[without_colour], self._scales[without_colour]
        columns, there = self._loader.dataset.columns, ids >= 0
        rows = np.searchsorted(columns.id, ids[there])
        keys = self._recipe.draw_keys(ids, position)[there]
        windows, colours = np.zeros((len(ids), views, 5)), np.zeros((len(ids), 3), np.float32)
        sides = columns.height[rows].astype(np.int64), columns.width[rows].astype(np.int64)
        draw_all(normalization.rules, np.uint64(seed), epoch, keys, ids[there], *sides, windows, colours)
        mirror = windows[..., 4] > 0
        top, left = np.zeros((2, len(ids), views), np.int64)
        if normalization.follows:
            top, left = windows[..., 0].astype(np.int64), windows[..., 1].astype(np.int64)
        else:
            mirror = np.zeros_like(mirror)  # the mean is that of a crop, mirrored or not
        parts = (top.ravel(), left.ravel(), mirror.ravel(), np.repeat(colours, views, 0))
        what = CropParams(*(self._sent(torch.from_numpy(part)) for part in parts))
        values = normalize(images.view(-1, size, size, 3), what, self._mean, scale, self._dtype).view(images.shape)
        if not there.all():
            values[len(rows) :] = 0
        return values.movedim(-1, -3) if planes_first else values

    def _sent(self, part: Tensor) -> Tensor:
        pinned = part.pin_memory() if self._device.type == "cuda" else part
        return pinned.to(self._device, non_blocking=True)


def may_repeat(loader: BatchLoader) -> bool:
    """Whether samples may come again in an epoch, with other crops, which a batch does not tell."""
    return loader.options.per_class is not None or loader.dataset.mixture is not None


@njit
def draw_all(
    rules: Rules,
    seed: np.uint64,
    epoch: int,
    keys: np.ndarray,
    ids: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    windows: np.ndarray,
    colours: np.ndarray,
) -> None:
    """Draws the `windows` (float64 [n, V, 5]) and `colours` (float32 [n, 3]) of n samples, see `kernel.recipes`.

    `keys`, `ids`, `heights` and `widths` (int64 [n]) are of the samples; see `Recipe.draw_keys`.
    """
    for i in range(len(ids)):
        decide(rules, seed, epoch, keys[i], 0, heights[i], widths[i], windows[i])
        colours[i, 0], colours[i, 1], colours[i, 2] = colour(rules, seed, epoch, ids[i], 0)
