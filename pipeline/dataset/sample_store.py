"""What a loader asks of a dataset: its table of samples, its shards in memory, the statistics of its pixels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.dataset.fields import FieldColumn
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.dataset.statistics import Statistics
from imagefeed.pipeline.files.cache import GB, Cache
from imagefeed.pipeline.files.mapped_file import MappedFile
from imagefeed.pipeline.files.object_store import never
from imagefeed.pipeline.sampling.mixture import Mixture
from imagefeed.pipeline.sampling.residency import ShardResidency


class Columns(NamedTuple):
    """The numbers of the table of samples, one row a sample, sorted by id."""

    id: np.ndarray  # int64
    label: np.ndarray  # int32
    shard: np.ndarray  # int32, index into the dataset's shards
    offset: np.ndarray  # int64, of the payload in the shard, bytes
    size: np.ndarray  # int64, bytes
    height: np.ndarray  # int32, pixels; 0 where unknown
    width: np.ndarray  # int32
    kind: np.ndarray  # uint8: `manifest.JPEG`, RAW or OTHER
    xxh3: np.ndarray  # uint64, of the payload; 0 where unknown


class SampleStore(ABC):
    """Samples in numbered shards: one split (`Split`), or several that were joined (`Joined`).

    `len()` is the number of samples.
    """

    mixture: Mixture | None = None  # what an epoch takes of it; None: every sample once

    @property
    @abstractmethod
    def called(self) -> str:
        """The dataset as messages name it."""

    @property
    @abstractmethod
    def classes(self) -> tuple[Class, ...]:
        """What a label is an index into."""

    @property
    @abstractmethod
    def columns(self) -> Columns:
        """The table's numbers, proved to lie within the shards: a reader need not look again."""

    @abstractmethod
    def fields(self, names: Iterable[str]) -> dict[str, FieldColumn]:
        """The fields `names`, what samples say beside their labels, for all samples.

        Raises `ValueError` for a name that is not there, and where the table was altered.
        """

    @property
    @abstractmethod
    def shard_bytes(self) -> np.ndarray:
        """Bytes of each shard, int64 [number of shards]."""

    @property
    @abstractmethod
    def elsewhere(self) -> np.ndarray:
        """Which shards are fetched when they are needed, bool [number of shards]."""

    @property
    @abstractmethod
    def cache(self) -> Cache | None:
        """Where shards from elsewhere are kept; None where there are none."""

    @property
    @abstractmethod
    def has_statistics(self) -> bool:
        """Whether `statistics` are there."""

    @property
    @abstractmethod
    def statistics(self) -> Statistics:
        """Moments and PCA of the stored pixels. Raises `ValueError` with the cure where there are none."""

    @property
    @abstractmethod
    def has_mean_image(self) -> bool:
        """Whether `mean_image` is there: statistics were taken, and the images are of one size."""

    @property
    @abstractmethod
    def mean_image(self) -> np.ndarray:
        """The per-pixel mean of the stored images, float32 [H, W, 3], grey levels 0 to 255.

        Raises `ValueError` where there is none.
        """

    @property
    @abstractmethod
    def pixel_sums(self) -> np.ndarray:
        """The sum of the stored images at each place, int64 [H, W, 3]. Raises as `mean_image` does."""

    @abstractmethod
    def statistics_source(self) -> "SampleStore":
        """The dataset whose mean image and statistics are subtracted from this one's images: its training data.

        Raises `ValueError` where there is none.
        """

    @abstractmethod
    def name(self, row: int) -> str:
        """A sample as messages name it: the shard's file, the id and the key."""

    @abstractmethod
    def shard_memory(self, number: int, cancelled: Callable[[], bool] = never) -> MappedFile:
        """Shard `number` in memory. A remote one is fetched first unless it is here, which `cancelled()` ends."""

    def __len__(self) -> int:
        return len(self.columns.id)

    @property
    def sizes_known(self) -> bool:
        """Whether the height and width of every image are in the table; a tar of others does not tell them."""
        return bool((self.columns.height > 0).all())

    @property
    def exceeds_cache(self) -> bool:
        """Whether the shards from elsewhere are more than are kept here.

        By the cache's stated size, never by what the disk has: all ranks must come to the same order.
        """
        return self.cache is not None and self.shard_bytes[self.elsewhere].sum() > self.cache.options.num_bytes

    def payload_addresses(self, rows: np.ndarray) -> tuple[np.ndarray, list[MappedFile]]:
        """Where the payloads of `rows` (int64 [n]) begin in memory, int64 [n], while somebody holds the maps."""
        shards = self.columns.shard[rows]
        numbers, places = np.unique(shards, return_inverse=True)
        maps = [self.shard_memory(int(number)) for number in numbers]
        starts = np.array([each.address for each in maps], np.int64)
        return starts[places] + self.columns.offset[rows], maps

    def room(self, fetched: ShardResidency) -> int:
        """The bytes of shards from elsewhere to keep here at once, where an epoch needs those that `fetched` says.

        Twice what it needs at the least, where the cache has them. Raises `ValueError` where it has not even that.
        """
        assert self.cache is not None
        capacity, needed = self.cache.capacity(), fetched.peak()
        if needed > capacity:
            raise ValueError(
                f"{self.cache} is too small for {self.called} in this order, which needs {needed / GB:.3g} GB at once: "
                "give it more, or choose shuffle='shards' with a smaller window"
            )
        return min(capacity, 2 * needed)
