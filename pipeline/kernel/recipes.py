"""What is done to each sample, decided as numbers before any pixel of it is touched.

    decide(rules, ..., height, width, windows)  ->  windows float64 [V, 5]
    colour(rules, ...)                          ->  what is added to R, G and B, grey levels

A window is (top, left, height, width, mirror) in pixels of the stored image; where it is not of the crop's size it is
resampled to it. Both are functions of (seed, epoch, sample id, turn) and the image's size alone.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.sampling.rng import COLOUR, MIRROR, RESIZED, WINDOW, below, draw, normals, unit

Mean = Literal["window", "centre", "channel"]
Interpolation = Literal["bilinear", "bicubic"]
# Where a fixed window lies: how much of the space that the image leaves is above it, and how much to its left.
CENTRE = ((0.5, 0.5),)
CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
# Random resized crop, as "Going deeper with convolutions" (Szegedy et al. 2014, section 6) and everybody since does it.
SCALE = (0.08, 1.0)  # area of the window, share of the image's
RATIO = (3 / 4, 4 / 3)  # width over height
ATTEMPTS = 10
OK = 0
TOO_SMALL = 10  # an image smaller than the crop


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to each sample."""

    window: Literal["random", "resized", "fixed"]  # a crop anywhere; a random resized crop; the windows of `fixed`
    shuffle: bool = False  # a new order each epoch
    fixed: tuple[tuple[float, float], ...] = ()  # where the fixed windows lie
    mirrored: bool = False  # the fixed windows once more, mirrored, after all of them
    colour: bool = False  # a random offset along the principal components of the training pixels
    shrink: float = 1.0  # what values are divided by while there is colour
    mean: Mean = "window"  # what is subtracted: the mean image at the window or at its centre, or a mean a channel
    normalize: bool = False  # divide by the standard deviation of each channel
    chunk: int = 1  # samples in a row that share a window
    hflip: float = 0.5  # how likely a random window is mirrored
    scale: tuple[float, float] = SCALE  # of a random resized crop
    ratio: tuple[float, float] = RATIO
    interpolation: Interpolation = "bilinear"  # of what is resized

    @property
    def num_views(self) -> int:
        """How many crops a sample gives."""
        return max(1, len(self.fixed) * (1 + self.mirrored))

    def draw_keys(self, ids: np.ndarray, position: int) -> np.ndarray:
        """What the windows of samples in a row are drawn for (int64 [n]): their `ids`, or the numbers of their chunks.

        `position` is that of the first of them in the epoch's order.
        """
        return ids if self.chunk == 1 else (position + np.arange(len(ids))) // self.chunk


RECIPES = {
    # Section 4.1 of the paper.
    "alexnet": Recipe(window="random", shuffle=True, colour=True),
    # The authors' code as published: a window for 32 samples, the centre of the mean image, division by 1 + 0.1.
    "alexnet-2012": Recipe(window="random", shuffle=True, colour=True, shrink=1.1, mean="centre", chunk=32),
    "resnet": Recipe(window="resized", shuffle=True, mean="channel", normalize=True),
    "eval": Recipe(window="fixed", fixed=CENTRE),
    # "the four corner patches and the center patch as well as their horizontal reflections": section 4.1.
    "ten-crop": Recipe(window="fixed", fixed=CORNERS + CENTRE, mirrored=True),
}


def values_of(recipe: str) -> dict[str, Any]:
    """Options with which a loader of any recipe gives the values that a net trained with `recipe` knows."""
    return {"mean": RECIPES[recipe].mean, "normalize": RECIPES[recipe].normalize}


class Rules(NamedTuple):
    """A recipe as the kernel knows it."""

    size: int  # S, the crop's side, pixels
    short: int  # the side to which the shorter side of an image is scaled before the crop; 0: as it is stored
    resized: bool  # a random resized crop
    hflip: float  # how likely a random window is mirrored
    scale: tuple[float, float]  # least and most area of a random resized crop, share of the image's
    ratio: tuple[float, float]  # least and most width over height of it
    bicubic: bool  # how pixels are made where something is resized, see `image.resample`
    fixed: np.ndarray  # float64 [V, 3]: share of the space above and to the left, mirror; empty: a random window
    basis: np.ndarray  # float64 [3, 3], of `normalization.colour_basis`


def rules_of(recipe: Recipe, *, size: int, short: int, basis: np.ndarray) -> Rules:
    """The numbers of a recipe."""
    fixed = [[*share, mirror] for mirror in range(1 + recipe.mirrored) for share in recipe.fixed]
    return Rules(
        size=size,
        short=short,
        resized=recipe.window == "resized",
        hflip=float(recipe.hflip),
        scale=(float(recipe.scale[0]), float(recipe.scale[1])),
        ratio=(float(recipe.ratio[0]), float(recipe.ratio[1])),
        bicubic=recipe.interpolation == "bicubic",
        fixed=np.array(fixed, float).reshape(-1, 3),
        basis=basis,
    )


@njit
def colour(rules: Rules, seed: np.uint64, epoch: int, sample_id: int, turn: int) -> tuple[float, float, float]:
    """What to add to R, G and B of every pixel (float64)."""
    a, b, c = normals(draw(seed, epoch, sample_id, COLOUR, turn))
    basis = rules.basis
    red = basis[0, 0] * a + basis[0, 1] * b + basis[0, 2] * c
    green = basis[1, 0] * a + basis[1, 1] * b + basis[1, 2] * c
    blue = basis[2, 0] * a + basis[2, 1] * b + basis[2, 2] * c
    return red, green, blue


@njit
def decide(
    rules: Rules, seed: np.uint64, epoch: int, draw_key: int, turn: int, height: int, width: int, windows: np.ndarray
) -> int:
    """Chooses the windows (float64 [V, 5]) of an image of `height` x `width`; returns OK or TOO_SMALL.

    `draw_key` is what the random numbers are drawn for: the sample's id, or the number of its chunk.
    """
    if rules.resized:
        windows[0, 0], windows[0, 1], windows[0, 2], windows[0, 3] = resized_window(
            rules, seed, epoch, draw_key, turn, height, width
        )
        windows[0, 4] = is_mirrored(rules, draw(seed, epoch, draw_key, MIRROR, turn)[0])
        return OK
    size, pitch = rules.size, 1.0  # a pixel of the scaled image in pixels of the stored one
    if rules.short > 0:
        pitch = min(height, width) / rules.short
    space_down, space_right = int(height / pitch + 1e-6) - size, int(width / pitch + 1e-6) - size
    if space_down < 0 or space_right < 0:
        return TOO_SMALL
    for view in range(len(windows)):
        windows[view, 2] = windows[view, 3] = size * pitch
    if len(rules.fixed) == 0:
        words = draw(seed, epoch, draw_key, WINDOW, turn)
        windows[0, 0] = below(words[0], space_down + 1) * pitch
        windows[0, 1] = below(words[1], space_right + 1) * pitch
        windows[0, 4] = is_mirrored(rules, words[2])
    for view in range(len(rules.fixed)):
        windows[view, 0] = int(rules.fixed[view, 0] * space_down) * pitch
        windows[view, 1] = int(rules.fixed[view, 1] * space_right) * pitch
        windows[view, 4] = rules.fixed[view, 2]
    return OK


@njit
def is_mirrored(rules: Rules, word: np.uint64) -> bool:
    """Whether a random window is mirrored: the upper part of the words is, so that half of them is the upper bit."""
    return unit(word) >= 1.0 - rules.hflip


@njit
def resized_window(
    rules: Rules, seed: np.uint64, epoch: int, draw_key: int, turn: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of an image, of the area and the shape that `rules` allow.

    What does not fit is drawn again, ten times at most; then it is the largest central part of an allowed shape.
    """
    least, most = rules.scale
    narrow, wide = rules.ratio
    low, high = math.log(narrow), math.log(wide)
    for attempt in range(ATTEMPTS):
        words = draw(seed, epoch, draw_key, RESIZED + attempt, turn)
        area = height * width * (least + (most - least) * unit(words[0]))
        ratio = math.exp(low + (high - low) * unit(words[1]))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            return below(words[2], height - down + 1), below(words[3], width - across + 1), down, across
    across = max(1, min(width, round(height * wide)))
    down = max(1, min(height, round(width / narrow)))
    return (height - down) // 2, (width - across) // 2, down, across
