"""How bright an image is, from the values that the net is fed: it need not be decoded again."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline import Dataset
from pipeline.feed import looks
from pipeline.loader import LoaderOptions


@dataclass(frozen=True)
class GreyLevels:
    """What a centre crop's values were made with, channel by channel: (grey level - `offset`) * `scale`."""

    offset: np.ndarray  # float64 [3]: over all places of the crop, the mean of what was subtracted there
    scale: np.ndarray  # float64 [3]

    def mean_of(self, crops: Tensor) -> np.ndarray:
        """The mean grey level, 0 to 255, over pixels and channels of centre crops [B, 3, S, S]: float32 [B]."""
        means = crops.double().mean((2, 3)).cpu().numpy()
        return (means / self.scale + self.offset).mean(1).astype(np.float32)


def grey_levels(dataset: Dataset, options: LoaderOptions, size: int) -> GreyLevels:
    """Those of a loader of `dataset` with these options, in planes and without colour, for centre crops of `size`."""
    look = looks(dataset, options)[1]
    means = look.means[0].astype(np.float64)  # [3, H, W]
    top, left = ((means.shape[i] - size) // 2 if look.follows else 0 for i in (1, 2))
    window = means[:, top : top + size, left : left + size]
    return GreyLevels(window.mean((1, 2)), look.scale[:3].astype(np.float64))
