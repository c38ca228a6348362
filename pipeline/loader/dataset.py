"""A split with its loader: what `imagefeed.open_dataset` gives."""

from collections.abc import Iterator
from operator import index
from pathlib import Path
from typing import Unpack

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.cache import CacheOptions
from imagefeed.pipeline.files.object_store import StorageOptions
from imagefeed.pipeline.loader.keywords import LoaderKeywords, with_option_names
from imagefeed.pipeline.loader.loader import Loader
from imagefeed.pipeline.loader.options import options_of
from imagefeed.pipeline.loader.shown import html_of, line_of
from imagefeed.pipeline.loader.stored_images import Sample, StoredImages


class Dataset(Split):
    """A finished split, ready to be read in batches; made by `open_dataset`.

    `len()` is its number of samples and `dataset[i]` one of them, so that it also serves as a map-style dataset.
    """

    __repr__ = line_of
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


def open_dataset(
    path: str | Path, *, cache: CacheOptions | None = None, storage: StorageOptions | None = None
) -> Dataset:
    """Opens one split: the folder that holds its `manifest.json`, its URL, or shards that others made.

    Of a URL (`s3://bucket/imagenet/train`), which may be of any kind that fsspec knows, the manifest and the tables are
    fetched and checked now, the shards when they are needed, into a local `cache`; `storage` says how long a server is
    given. These raise `ConnectionError` and `PermissionError` too.

    Shards of others are a `.tar` as WebDataset reads it, a `.beton`, a folder of one or the other, or several by braces
    and wildcards (`train-{000..146}.tar`, `*.beton`). They are indexed when first opened, which reads their headers
    alone; the index is kept below $IMAGEFEED_HOME for as long as no file changes (see `docs/format.md`).

    Otherwise it takes milliseconds: every shard must be there with the manifest's number of bytes, and the counts must
    agree; the bytes themselves are proved when they are read. Raises `FileNotFoundError` or `ValueError` with the file
    and the cure; where `path` holds splits rather than being one, the message lists them.
    """
    return Dataset.open(path, cache=cache, storage=storage)
