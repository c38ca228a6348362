"""What pixels become: mean, scale and colour of a recipe, from the statistics of a split."""

import numpy as np

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.dataset.statistics import Statistics
from imagefeed.pipeline.kernel.fused import Normalization
from imagefeed.pipeline.kernel.recipes import Mean, rules_of
from imagefeed.pipeline.kernel.write import both_means
from imagefeed.pipeline.loader.options import LoaderOptions

STORED_SIDE = 256 / 224  # to which a shorter side is scaled, in sides of the crop: the paper's geometry
COLOUR_DEVIATION = 0.1  # "a Gaussian with mean zero and standard deviation 0.1": section 4.1 of the paper


def colour_basis(statistics: Statistics) -> np.ndarray:
    """What three standard normal numbers are multiplied with to give a colour: float64 [3, 3], grey levels.

    Column j is 0.1 * sqrt(eigenvalue j) * eigenvector j. The paper's formula has the eigenvalue itself, which would
    throw each image out of the range of colours (the first is near 14,000 for grey levels). The root gives sensible
    sizes, and the authors' code has it: it names the factor after standard deviations.
    """
    return COLOUR_DEVIATION * np.array(statistics.eigenvectors) * np.sqrt(np.array(statistics.eigenvalues))


def normalizations(dataset: Split, options: LoaderOptions) -> tuple[Normalization, Normalization]:
    """What values become while there is colour, and afterwards. Raises `ValueError` where statistics are missing."""
    recipe, size = options.settled, options.crop_size
    short = scaled_side(dataset, options)
    mean, deviation, basis = np.zeros((size, size, 3), np.float32), np.ones(3), np.zeros((3, 3))
    follows = False
    if options.dtype != "uint8":
        source = statistics_source(dataset, options)
        mean, follows = mean_of(source, recipe.mean, dataset, size, short)
        if recipe.normalize:
            deviation = np.sqrt(np.diag(np.array(source.statistics.covariance)))
        if recipe.colour:
            basis = colour_basis(source.statistics)
    means = both_means(mean, planes=options.layout == "NCHW", mirrored=follows)

    def normalization(basis: np.ndarray, divisor: np.ndarray) -> Normalization:
        scale = np.tile((1 / divisor).astype(np.float32), size)
        return Normalization(rules_of(recipe, size=size, short=short, basis=basis), means, follows, scale)

    return normalization(basis, deviation * recipe.shrink), normalization(np.zeros((3, 3)), deviation)


def scaled_side(dataset: Split, options: LoaderOptions) -> int:
    """To what the shorter sides are scaled, pixels; 0 for images that are cropped as they are stored."""
    if options.resize is not None:
        return options.resize
    columns = dataset.columns
    shorter = np.minimum(columns.height, columns.width)
    if shorter[0] > 0 and (shorter == shorter[0]).all():
        if options.crop_size > shorter[0] and options.settled.window != "resized":
            raise ValueError(
                f"{dataset.path} stores images of {columns.height[0]}x{columns.width[0]}: choose a smaller crop_size, "
                "or give `resize`, the length to which shorter sides are scaled"
            )
        return 0
    return round(STORED_SIDE * options.crop_size)


def mean_of(source: Split, mean: Mean, dataset: Split, size: int, short: int) -> tuple[np.ndarray, bool]:
    """What is subtracted, float32 [H, W, 3], and whether it is that of whole stored images, to be cropped with them.

    There is a mean for each pixel only where all images have the mean image's size and are not scaled.
    """
    columns = dataset.columns
    stored = {(0, 0)} if short else set(zip(columns.height.tolist(), columns.width.tolist(), strict=True))
    if mean == "channel" or len(stored) > 1 or (0, 0) in stored or not source.has_mean_image:
        return np.full((size, size, 3), source.statistics.mean, np.float32), False
    image = source.mean_image
    if {image.shape[:2]} != stored:
        raise ValueError(f"{source.path} has images of another size than {dataset.path}: use statistics of its own")
    if mean == "window":
        return image, True
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size], False


def statistics_source(dataset: Split, options: LoaderOptions) -> Split:
    """The split whose mean image and statistics are used: the one asked for, or the training split."""
    if options.statistics is not None:
        return Split.open(options.statistics)
    if dataset.manifest.split == "train" or dataset.manifest.is_index:
        return dataset
    beside = dataset.beside("train")
    if beside is None:
        raise ValueError(
            f"{dataset.path} is not a training split and there is no 'train' beside it: "
            "say with `statistics` which split's mean image to use"
        )
    return beside
