"""What pixels become: mean, scale and colour of a recipe, from the statistics of a split."""

from typing import Any

import numpy as np

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.dataset.statistics import Statistics
from imagefeed.pipeline.kernel.fused import Normalization
from imagefeed.pipeline.kernel.recipes import rules_of, values_of
from imagefeed.pipeline.kernel.write import both_means
from imagefeed.pipeline.loader.buffers import DTYPES
from imagefeed.pipeline.loader.options import LoaderOptions, rows_of

STORED_SIDE = 256 / 224  # to which a shorter side is scaled, in sides of the crop: the paper's geometry
COLOUR_DEVIATION = 0.1  # "a Gaussian with mean zero and standard deviation 0.1": section 4.1 of the paper


def colour_basis(statistics: Statistics) -> np.ndarray:
    """What three standard normal numbers are multiplied with to give a colour: float64 [3, 3], grey levels.

    Column j is 0.1 * sqrt(eigenvalue j) * eigenvector j. The paper's formula has the eigenvalue itself, which would
    throw each image out of the range of colours (the first is near 14,000 for grey levels). The root gives sensible
    sizes, and the authors' code has it: it names the factor after standard deviations.
    """
    return COLOUR_DEVIATION * np.array(statistics.eigenvectors) * np.sqrt(np.array(statistics.eigenvalues))


def deviations(statistics: Statistics) -> np.ndarray:
    """The standard deviation of each channel, grey levels, float64 [3]; 1 for one in which all pixels are the same, of
    which the mean leaves 0."""
    found = np.sqrt(np.diag(np.array(statistics.covariance)))
    return np.where(found > 0, found, 1.0)


def normalizations(dataset: SampleStore, options: LoaderOptions) -> tuple[Normalization, Normalization]:
    """What values become while there is colour, and afterwards.

    Raises `ValueError` where statistics are missing, and where the images are not of sizes that the options need.
    """
    recipe, size = options.settled, options.side
    short = scaled_side(dataset, options)
    check_sizes(dataset, options, short)
    if options.interpolation is not None and not short and recipe.window != "resized":
        raise ValueError(
            f"interpolation={options.interpolation!r} does nothing to {dataset.called}, whose images are cropped as "
            "they are stored: leave it out, or give resize"
        )
    mean, std = options.levels
    mean_image, follows = np.zeros((size, size, 3), np.float32), False
    deviation, basis = np.ones(3), np.zeros((3, 3))
    if options.dtype != "uint8":
        source = statistics_source(dataset, options) if options.needs_statistics else dataset
        if mean is not None:
            mean_image[:] = mean
        else:
            mean_image, follows = mean_of(source, dataset, options)
        if recipe.normalize:
            deviation = deviations(source.statistics) if std is None else std
        if options.colour:
            basis = colour_basis(source.statistics)
    height, width, _ = mean_image.shape
    planes_first, kind = options.layout == "NCHW", DTYPES[options.dtype].kind
    means = both_means(mean_image, planes_first, mirrored=follows)

    def normalization(basis: np.ndarray, divisor: np.ndarray) -> Normalization:
        scale = np.tile((1 / divisor).astype(np.float32), size)
        rules = rules_of(recipe, size=size, short=short, basis=basis)
        return Normalization(rules, means, height, width, follows, scale, kind, planes_first)

    return normalization(basis, deviation * recipe.shrink), normalization(np.zeros((3, 3)), deviation)


def scaled_side(dataset: SampleStore, options: LoaderOptions) -> int:
    """To what the shorter sides are scaled, pixels; 0 for images that are cropped as they are stored."""
    if options.settled.window == "resized":
        return 0
    if options.resize is not None:
        return options.resize
    shorter = np.minimum(dataset.columns.height, dataset.columns.width)
    equal = shorter[0] > 0 and (shorter == shorter[0]).all()
    return 0 if equal else round(STORED_SIDE * options.side)


def check_sizes(dataset: SampleStore, options: LoaderOptions, short: int) -> None:
    """Raises `ValueError` where a used image, cropped as it is stored, is known to be smaller than the crop."""
    if short or options.settled.window == "resized":
        return
    rows = np.arange(len(dataset))[rows_of(dataset, options)]
    heights, widths = dataset.columns.height[rows], dataset.columns.width[rows]
    small = (heights > 0) & (np.minimum(heights, widths) < options.side)
    if small.any():
        first = int(small.argmax())
        raise ValueError(
            f"{dataset.name(int(rows[first]))} is stored as {heights[first]}x{widths[first]}: choose a crop_size below "
            f"{options.side}, or give `resize`, the length to which shorter sides are scaled"
        )


def one_size(dataset: SampleStore) -> tuple[int, int] | None:
    """Height and width of all images of a dataset, where they are known and the same."""
    heights, widths = dataset.columns.height, dataset.columns.width
    same = heights[0] > 0 and (heights == heights[0]).all() and (widths == widths[0]).all()
    return (int(heights[0]), int(widths[0])) if same else None


def why_no_mean_image(source: SampleStore, dataset: SampleStore, short: int) -> str:
    """Why nothing but a mean of each channel can be subtracted; empty where images have a mean image of their own.

    There is a mean for each pixel only where all images have the mean image's size and are not scaled.
    """
    if short:
        return f"the shorter sides of {dataset.called} are scaled to {short}"
    if one_size(dataset) is None:
        return f"the images of {dataset.called} are of several sizes, or of unknown ones"
    return "" if source.has_mean_image else f"{source.called} has none"


def mean_of(source: SampleStore, dataset: SampleStore, options: LoaderOptions) -> tuple[np.ndarray, bool]:
    """What is subtracted, float32 [H, W, 3], and whether it is that of whole stored images, to be cropped with them.

    Where there is no mean image, a recipe falls back to the mean of each channel, and an option is a `ValueError`.
    """
    size, mean = options.side, options.settled.mean
    why = "" if mean == "channel" else why_no_mean_image(source, dataset, scaled_side(dataset, options))
    if why and options.mean is not None:
        raise ValueError(f"mean={mean!r} needs a mean image, and {why}: choose mean='channel'")
    if why or mean == "channel":
        return np.full((size, size, 3), source.statistics.mean, np.float32), False
    image = source.mean_image
    if image.shape[:2] != one_size(dataset):
        raise ValueError(f"{source.called} has images of another size than {dataset.called}: use statistics of its own")
    if mean == "window":
        return image, True
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    if min(top, left) < 0:
        raise ValueError(
            f"mean='centre' has no {size}x{size} pixels in the mean image of {image.shape[0]}x{image.shape[1]}: "
            "choose a smaller crop_size, or mean='channel'"
        )
    return image[top : top + size, left : left + size], False


def values_for(dataset: SampleStore, recipe: str, crop_size: int) -> dict[str, Any]:
    """Options with which a loader of any recipe that only crops gives the values that a net trained with `recipe`
    knows: a mean image where `dataset` has one, else the mean of each channel.
    """
    values = values_of(recipe)
    options = LoaderOptions(recipe="eval", crop_size=crop_size)
    if values["mean"] != "channel":
        source = statistics_source(dataset, options)
        if why_no_mean_image(source, dataset, scaled_side(dataset, options)):
            values["mean"] = "channel"
    return values


def statistics_source(dataset: SampleStore, options: LoaderOptions) -> SampleStore:
    """The dataset whose mean image and statistics are used: the one asked for, or the training data."""
    return dataset.statistics_source() if options.statistics is None else Split.open(options.statistics)
