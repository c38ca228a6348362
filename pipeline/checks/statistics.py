"""Statistics for what has none: an index of other people's shards, and a split whose image files were copied.

An index gets all that a split of our own has: moments, mean image, heights and widths, and the hash of every payload,
which the loader then checks at every read.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.checks.scan import ScanResult, scan
from imagefeed.pipeline.dataset.index import WITH_STATISTICS, index_of
from imagefeed.pipeline.dataset.manifest import MEAN_IMAGE, SAMPLES, Manifest
from imagefeed.pipeline.dataset.publish import array_writer, copy_writer, publish_folder, publish_split, table_writer
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.dataset.statistics import statistics
from imagefeed.pipeline.dataset.tables import SAMPLES_SCHEMA
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.runtime.executors import Executor, run_here

MOST_NAMED = 5  # faults that a message names


def make_index(
    path: str | Path, *, with_statistics: bool = False, out: Path | None = None, run: Executor = run_here
) -> Split:
    """The index of the shards that `path` stands for (see `open_dataset`), or of an index, which need not be there yet.

    `with_statistics` decodes every image once; `out` is a folder for the index instead of the one below
    $IMAGEFEED_HOME. Raises `ValueError` where `path` is a split that was converted, or an image does not decode,
    `FileExistsError` where `out` holds something else.
    """
    dataset = Split.open(path)
    if not dataset.manifest.is_index:
        raise ValueError(f"{path} is a split that imagefeed made: it has its table and its statistics")
    if dataset.remote is not None and (with_statistics or out is not None):
        raise ValueError(
            f"{path}: of shards at a URL there is an index without statistics, which `open_dataset` makes: convert "
            f"them, `imagefeed convert {path} OUT --resize none --statistics`, or copy them here"
        )
    if with_statistics and not dataset.has_statistics:
        digest = dataset.manifest.digest
        folder = index_of([Path(shard.name) for shard in dataset.manifest.shards])
        dataset = Split.open_folder(folder, dataset.source)
        if dataset.manifest.digest != digest:
            raise ValueError(f"{path}: a shard was changed meanwhile; run again")
        if not dataset.has_statistics:
            finished = folder.with_name(folder.name + WITH_STATISTICS)
            publish_folder(finished, partial(write_statistics, dataset=dataset, run=run))
            dataset = Split.open_folder(finished, dataset.source)
    if out is not None:
        out = out.absolute()
        publish_folder(out, partial(copy_index, dataset=dataset))
        if Manifest.load(out) != dataset.manifest:
            raise FileExistsError(f"{out} already holds another split: choose another folder, or remove this one")
        dataset = Split.open_folder(out, dataset.source)
    return dataset


def copy_index(folder: Path, dataset: Split) -> None:
    """Writes the files of an index into `folder`, the manifest last."""
    files = {name: copy_writer(dataset.path / name) for name in dataset.manifest.files}
    publish_split(LocalOutput(folder), dataset.manifest, files)


def take_statistics(dataset: Split, run: Executor = run_here) -> Split:
    """`dataset`, a split of files that were copied, with the statistics of its pixels, taken now if it has none.

    Raises `ValueError` where an image does not decode.
    """
    if not dataset.has_statistics:
        with LocalOutput(dataset.path.parent).lock():
            write_statistics(dataset.path, dataset, run)
    return Split.open_folder(dataset.path)


def write_statistics(folder: Path, dataset: Split, run: Executor) -> None:
    """Looks at every image of `dataset` and writes its manifest and table with all that was found into `folder`."""
    seen = scan(dataset, "statistics", run)
    if seen.faults:
        raise ValueError(
            f"{dataset.source or dataset.path}: {len(seen.faults)} of {len(dataset)} images cannot be used, so there "
            "are no statistics: " + "; ".join(seen.faults[:MOST_NAMED])
        )
    files = {}
    if dataset.manifest.is_index:  # a split of our own knows all that its table has room for
        table = dataset.samples
        for name in seen.found.dtype.names or ():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), pa.array(seen.found[name]))
        files[SAMPLES] = table_writer(table.cast(SAMPLES_SCHEMA))
    if seen.pixel_sums.sums is not None:
        files[MEAN_IMAGE] = array_writer(seen.pixel_sums.sums / len(dataset))
    manifest = replace(dataset.manifest, statistics=statistics(seen.moments))
    publish_split(LocalOutput(folder), manifest, files)


def recompute(dataset: Split, run: Executor = run_here) -> list[str]:
    """What is wrong with the statistics of `dataset`, or with its images: nothing, for a sound one.

    Raises `ValueError` where it has none.
    """
    assert dataset.statistics  # raises with the command
    looked = scan(dataset, "statistics", run)
    return looked.faults or differences(dataset, looked)


def differences(dataset: Split, looked: ScanResult) -> list[str]:
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
