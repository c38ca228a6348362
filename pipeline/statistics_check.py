"""The statistics of a dataset taken again from its pixels, and compared to the bit with those that it has."""

import numpy as np

from pipeline.dataset import Dataset
from pipeline.looking import Looked, look_at
from pipeline.moments import statistics
from pipeline.runners import Runner, run_here


def recompute(dataset: Dataset, run: Runner = run_here) -> list[str]:
    """What is wrong with the statistics of `dataset`, or with its images: nothing, for a sound one.

    Raises `ValueError` where it has none.
    """
    assert dataset.statistics  # raises with the command
    looked = look_at(dataset, "statistics", run)
    return looked.faults or differences(dataset, looked)


def differences(dataset: Dataset, looked: Looked) -> list[str]:
    """How what was `looked` at, all of it sound, differs from the statistics that `dataset` has, a line each."""
    again, there, faults = statistics(looked.moments), dataset.statistics, []
    for name in ("num_pixels", "sums", "cross", "mean", "covariance", "eigenvalues", "eigenvectors"):
        if getattr(again, name) != getattr(there, name):
            faults.append(
                f"{dataset.path}: {name} is {getattr(there, name)} and the pixels give {getattr(again, name)}"
            )
    if (looked.pixel_sums.sums is None) == dataset.has_mean_image:
        what = "a mean image, though its images are of several sizes" if dataset.has_mean_image else "no mean image"
        faults.append(f"{dataset.path} has {what}")
    elif looked.pixel_sums.sums is not None:
        mean = (looked.pixel_sums.sums / len(dataset)).astype(np.float32)
        if not np.array_equal(mean, dataset.mean_image):
            where = np.unravel_index(int(np.abs(mean - dataset.mean_image).argmax()), mean.shape)
            faults.append(f"{dataset.path}: the mean image is another one, most so at {tuple(map(int, where))}")
    return faults
