"""What is done to each sample, chosen as numbers before any pixel is touched.

    choose(seed, epoch, ids, ...)  ->  views int32 [n, V, 3], colours float32 [n, 3]

A view is (top, left, mirror): where the window begins in the stored image, in pixels, and whether it is mirrored (0 or
1). A colour is what is added to R, G and B, in grey levels. Both are functions of (seed, epoch, sample id) alone.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.compiled import njit
from pipeline.moments import Statistics
from pipeline.rng import COLOUR, WINDOW, below, draw, normals

COLOUR_DEVIATION = 0.1  # "a Gaussian with mean zero and standard deviation 0.1": section 4.1 of the paper

# Where a fixed window lies: its share of the room that the stored image leaves above it and to its left.
CENTRE = ((0.5, 0.5),)
CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to each sample. All of them subtract the per-pixel mean at the same window, except for uint8."""

    shuffle: bool = False  # a new order each epoch
    colour: bool = False  # a random offset along the principal components of the training pixels
    windows: tuple[tuple[float, float], ...] = ()  # the fixed windows; none: one anywhere, mirrored or not
    mirrored: bool = False  # the fixed windows once more, mirrored, after all of them

    @property
    def num_views(self) -> int:
        """How many crops a sample gives."""
        return max(1, len(self.windows) * (1 + self.mirrored))


RECIPES = {
    "alexnet": Recipe(shuffle=True, colour=True),  # section 4.1 of the paper
    "eval": Recipe(windows=CENTRE),
    "ten-crop": Recipe(windows=CORNERS + CENTRE, mirrored=True),  # "the four corner patches and the center patch"
}


def fixed_views(recipe: Recipe, room: tuple[int, int]) -> np.ndarray:
    """The views that are not left to chance, int32 [V, 3]; none where all of them are.

    `room` is the height and width of the stored images less those of the crop.
    """
    windows = [[int(down * room[0]), int(right * room[1])] for down, right in recipe.windows]
    views = [[*window, mirror] for mirror in range(1 + recipe.mirrored) for window in windows]
    return np.array(views, np.int32).reshape(-1, 3)


def colour_basis(statistics: Statistics) -> np.ndarray:
    """What three standard normal numbers are multiplied with to give a colour: float64 [3, 3], grey levels.

    Column j is 0.1 * sqrt(eigenvalue j) * eigenvector j. The paper's formula has the eigenvalue itself, which would
    throw each image out of the range of colours (the first is near 14,000 on grey levels); the authors' code, which
    names the factor after standard deviations, and every size that makes sense have the root.
    """
    return COLOUR_DEVIATION * np.array(statistics.eigenvectors) * np.sqrt(np.array(statistics.eigenvalues))


@njit
def random_view(seed: np.uint64, epoch: int, sample_id: int, room: tuple[int, int]) -> tuple[int, int, int]:
    """A window anywhere in the image (33 x 33 places for 224 of 256) and a fair choice of the mirror."""
    words = draw(seed, epoch, sample_id, WINDOW)
    return below(words[0], room[0] + 1), below(words[1], room[1] + 1), below(words[2], 2)


@njit
def random_colour(seed: np.uint64, epoch: int, sample_id: int, basis: np.ndarray) -> tuple[float, float, float]:
    """What to add to R, G and B of every pixel (float64); `basis` is that of `colour_basis`."""
    a, b, c = normals(draw(seed, epoch, sample_id, COLOUR))
    red = basis[0, 0] * a + basis[0, 1] * b + basis[0, 2] * c
    green = basis[1, 0] * a + basis[1, 1] * b + basis[1, 2] * c
    blue = basis[2, 0] * a + basis[2, 1] * b + basis[2, 2] * c
    return red, green, blue


@njit
def choose(
    seed: np.uint64, epoch: int, sample_ids: np.ndarray, room: tuple[int, int], fixed: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Views (int32 [n, V, 3]) and colours (float32 [n, 3]) for the samples of a batch.

    fixed  int32 [V, 3], the views of `fixed_views`; where it is empty, one random view
    basis  float64 [3, 3], that of `colour_basis`; where it is all zero, so are the colours
    """
    num_samples = sample_ids.size
    views = np.empty((num_samples, max(1, len(fixed)), 3), np.int32)
    colours = np.empty((num_samples, 3), np.float32)
    for i in range(num_samples):
        if len(fixed) == 0:
            views[i, 0, 0], views[i, 0, 1], views[i, 0, 2] = random_view(seed, epoch, sample_ids[i], room)
        else:
            views[i] = fixed
        colours[i, 0], colours[i, 1], colours[i, 2] = random_colour(seed, epoch, sample_ids[i], basis)
    return views, colours
