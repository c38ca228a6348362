"""Datasets with their loader: what `imagefeed.open_dataset`, `concat` and `mix` give."""

from collections.abc import Iterator, Sequence
from operator import index
from pathlib import Path
from typing import Unpack

from imagefeed.pipeline.dataset.joined import Joined
from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.cache import CacheOptions
from imagefeed.pipeline.files.object_store import StorageOptions
from imagefeed.pipeline.loader.keywords import LoaderKeywords, with_option_names
from imagefeed.pipeline.loader.loader import Loader
from imagefeed.pipeline.loader.option_check import check_option
from imagefeed.pipeline.loader.options import options_of
from imagefeed.pipeline.loader.shown import html_of, line_of
from imagefeed.pipeline.loader.stored_images import Sample, StoredImages
from imagefeed.pipeline.sampling.mixture import MOST_TURNS, Mixture, shares_of


class Loadable(SampleStore):
    """Samples with a loader; `dataset[i]` is one of them, so that it also serves as a map-style dataset."""

    _repr_html_ = html_of

    def __getitem__(self, i: int) -> Sample:
        """The sample in row `i` of the table, as it is stored; negative ones count from the end.

        Raises `IndexError` beyond the table, `TypeError` for a slice, and `ValueError` where the image is damaged.
        """
        row = index(i)
        if not -len(self) <= row < len(self):
            raise IndexError(f"{self} has no sample {row}")
        return StoredImages(self).sample(row % len(self))

    def __iter__(self) -> Iterator[Sample]:
        """All samples, in the order of the table. Raises `ValueError` where an image is damaged."""
        return map(StoredImages(self).sample, range(len(self)))

    @property
    def class_to_idx(self) -> dict[str, int]:
        """WordNet id (or the name of the class's folder) -> label."""
        return {each.wnid: label for label, each in enumerate(self.classes)}

    @property
    def targets(self) -> list[int]:
        """The label of each sample, in the order of the table."""
        labels: list[int] = self.columns.label.tolist()
        return labels

    @with_option_names
    def loader(self, **options: Unpack[LoaderKeywords]) -> Loader:
        """Batches of this dataset; the options are those of `LoaderOptions`, in docs/loader.md as a table.

        Raises `TypeError` for an option that there is not or that is of another type, and `ValueError` for a value that
        cannot be, for options that contradict each other, and where the dataset does not suit them.
        """
        return Loader(self, options_of(options))


class Dataset(Split, Loadable):
    """A finished split, ready to be read in batches; made by `open_dataset`. `len()` is its number of samples."""

    __repr__ = line_of


class JoinedDataset(Joined, Loadable):
    """Several datasets as one; made by `concat` and `mix`. `len()` is the number of samples of all of them."""


def open_dataset(
    path: str | Path, *, cache: CacheOptions | None = None, storage: StorageOptions | None = None
) -> Dataset:
    """Opens one split: the folder that holds its `manifest.json`, its URL, or shards that others made.

    Of a URL (`s3://bucket/imagenet/train`), which may be of any kind that fsspec knows, the manifest and the tables are
    fetched and checked now, the shards when they are needed, into a local `cache`; `storage` says how long a server is
    given. These raise `ConnectionError` and `PermissionError` too.

    Shards of others are a `.tar` as WebDataset reads it, a `.beton`, a folder of one or the other, or several by braces
    and wildcards (`train-{000..146}.tar`, `*.beton`), here or at a URL. They are indexed when first opened, which reads
    their headers alone; the index is kept below $IMAGEFEED_HOME for as long as no file changes (see `docs/format.md`).

    Otherwise it takes milliseconds: every shard must be there with the manifest's number of bytes, and the counts must
    agree; the bytes themselves are proved when they are read. Raises `FileNotFoundError` or `ValueError` with the file
    and the cure; where `path` holds splits rather than being one, the message lists them.
    """
    return Dataset.open(path, cache=cache, storage=storage)


def concat(datasets: Sequence[Dataset | JoinedDataset]) -> JoinedDataset:
    """The samples of opened datasets as one: those of the first, then those of the second, and so on.

    Ids: those of the first stay, those of the second have the first's largest id plus 1 added, and so on. Classes: all,
    each WordNet id once; labels are indices into these. Statistics: those of all samples, exactly. The datasets may be
    of any formats, here or elsewhere. Raises `TypeError` for what is no opened dataset, and `ValueError` with the cure
    for those that do not go together.
    """
    return JoinedDataset(opened("concat", datasets))


def mix(
    datasets: Sequence[Dataset | JoinedDataset], weights: Sequence[float], num_samples: int | None = None
) -> JoinedDataset:
    """As `concat`, but an epoch has `num_samples` samples, shared out between the datasets by `weights`.

    Weights are positive, one for each dataset; the shares are rounded to the nearest whole numbers that add up.
    `num_samples` is the number of all samples unless given. All samples of a dataset come before any comes again, with
    another crop; what an epoch does not use comes in the next. `repr` tells the shares. Raises as `concat` does.
    """
    parts = opened("mix", datasets)
    weights = check_option("weights", weights, Sequence[float])
    if len(weights) != len(parts) or not all(weight > 0 for weight in weights):
        raise ValueError(f"weights must be positive, one for each of the {len(parts)} datasets, not {list(weights)}")
    sizes = tuple(map(len, parts))
    total = check_option("num_samples", num_samples, int | None, (1, None)) or sum(sizes)
    shares = shares_of(weights, total)
    for part, size, share in zip(parts, sizes, shares, strict=True):
        if share == 0 or share > size * (MOST_TURNS - 1):
            raise ValueError(
                f"{share} of the {total} samples of an epoch would come from the {size} of {part.called}: choose "
                "other weights or another num_samples, or leave it out"
            )
    return JoinedDataset(parts, Mixture(sizes, shares))


def opened(what: str, datasets: Sequence[Dataset | JoinedDataset]) -> tuple[Loadable, ...]:
    """The datasets that `concat` or `mix` was given. Raises `TypeError` for anything else."""
    if isinstance(datasets, str | Path | Loadable):
        raise TypeError(f"{what} takes a list of datasets, not {datasets!r} alone")
    for each in datasets:
        if not isinstance(each, Loadable):
            raise TypeError(f"{what} takes datasets, not {each!r}: open it with open_dataset first")
    return tuple(datasets)
