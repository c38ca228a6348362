"""Several datasets as one: their tables one behind the other, their classes united, their statistics added up.

A sample's id is its own, moved up by the largest id before it plus 1: the ids of the second dataset begin behind those
of the first, and so on. `name` tells a sample's shard, own id and key.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from imagefeed.pipeline.dataset.fields import FieldColumn, concatenated
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.dataset.sample_store import Columns, SampleStore
from imagefeed.pipeline.dataset.statistics import Moments, Statistics
from imagefeed.pipeline.dataset.statistics import statistics as statistics_of
from imagefeed.pipeline.files.cache import Cache
from imagefeed.pipeline.files.mapped_file import MappedFile
from imagefeed.pipeline.files.object_store import never
from imagefeed.pipeline.sampling.mixture import Mixture

MOST_ID = 2**63 - 1


@dataclass(frozen=True, repr=False)
class Joined(SampleStore):
    """The samples of all `parts`, in this order; an epoch has each once, or what `mixture` takes of each part.

    Raises `ValueError` where the parts do not go together.
    """

    parts: tuple[SampleStore, ...]
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("there are no datasets to join: give at least one")
        if mixed := [part.called for part in self.parts if part.mixture is not None]:
            raise ValueError(f"{mixed[0]} cannot be joined with others again: join its parts, then mix")
        caches = {(cache.folder, cache.options.num_bytes): part for part in self.parts if (cache := part.cache)}
        if len(caches) > 1:
            one, other = [part.called for part in caches.values()][:2]
            raise ValueError(
                f"{one} and {other} are kept in two caches: open them with the same `cache`, so that its room is "
                "shared out once"
            )
        _ = self.columns  # a table that cannot be read is an error now

    def __repr__(self) -> str:
        count = f"{len(self):,} samples" if self.mixture is None else f"{sum(self.mixture.shares):,} samples an epoch"
        return f"{type(self).__name__}({self.called}: {count} of {len(self.classes):,} classes)"

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.parts, self.mixture)  # in another process the table is joined anew

    @property
    def called(self) -> str:
        """The datasets as messages name them, with what an epoch takes of each."""
        if self.mixture is None:
            return f"concat({', '.join(part.called for part in self.parts)})"
        return f"mix({', '.join(map(told, self.parts, self.mixture.shares))})"

    @cached_property
    def classes(self) -> tuple[Class, ...]:
        """The classes of all parts, see `united`."""
        return united([part.classes for part in self.parts], [part.called for part in self.parts])

    @cached_property
    def columns(self) -> Columns:
        """The tables of all parts, one behind the other; ids, labels and shards count on."""
        tables = [part.columns for part in self.parts]
        past = list(accumulate((int(table.id.max(initial=-1)) + 1 for table in tables), initial=0))
        if past[-1] > MOST_ID:
            raise ValueError(f"the ids of {self.called} do not fit into 63 bits one behind the other")
        label_of = {each.wnid: label for label, each in enumerate(self.classes)}
        labels = [np.array([label_of[each.wnid] for each in part.classes], np.int32) for part in self.parts]
        moved = [
            table._replace(id=table.id + below, label=new[table.label], shard=table.shard + np.int32(first))
            for table, below, new, first in zip(tables, past, labels, self._first_shards, strict=False)
        ]
        return Columns(*map(np.concatenate, zip(*moved, strict=True)))

    def fields(self, names: Iterable[str]) -> dict[str, FieldColumn]:
        """The fields `names` of all parts, one behind the other, see `SampleStore.fields`."""
        names = list(names)
        found, owners = [part.fields(names) for part in self.parts], [part.called for part in self.parts]
        return {name: concatenated([columns[name] for columns in found], name, owners) for name in names}

    @cached_property
    def shard_bytes(self) -> np.ndarray:
        """Bytes of each shard, int64 [number of shards]."""
        return np.concatenate([part.shard_bytes for part in self.parts])

    @cached_property
    def elsewhere(self) -> np.ndarray:
        """Which shards are fetched when they are needed, bool [number of shards]."""
        return np.concatenate([part.elsewhere for part in self.parts])

    @property
    def cache(self) -> Cache | None:
        """The one cache of all parts that are elsewhere."""
        return next((part.cache for part in self.parts if part.cache is not None), None)

    @property
    def has_statistics(self) -> bool:
        """Whether all parts have statistics."""
        return all(part.has_statistics for part in self.parts)

    @cached_property
    def statistics(self) -> Statistics:
        """Those of all stored pixels, exactly as if one dataset held them; each sample counts once, also in a mix."""
        if missing := [part.called for part in self.parts if not part.has_statistics]:
            raise ValueError(
                f"{missing[0]} has no statistics of its pixels, so {self.called} has none: take them once with "
                "`imagefeed stats` or, of shards that others made, `imagefeed index --statistics`; or name another "
                "split that has some with `statistics`; or use a recipe or type that needs none"
            )
        found = [part.statistics for part in self.parts]
        moments = (Moments(each.num_pixels, np.array(each.sums), np.array(each.cross)) for each in found)
        return statistics_of(sum(moments, Moments()))

    @cached_property
    def has_mean_image(self) -> bool:
        """Whether all parts have mean images of one size, which are those of all of their samples."""
        if not all(part.has_statistics and part.has_mean_image for part in self.parts):
            return False
        height, width, _ = self.parts[0].pixel_sums.shape
        return all(
            part.pixel_sums.shape == (height, width, 3) and part.statistics.num_pixels == len(part) * height * width
            for part in self.parts
        )

    @cached_property
    def mean_image(self) -> np.ndarray:
        """The per-pixel mean of the images of all parts, float32 [H, W, 3], see `SampleStore.mean_image`."""
        return (self.pixel_sums / len(self)).astype(np.float32)

    @property
    def pixel_sums(self) -> np.ndarray:
        """The sum of the images at each place, int64 [H, W, 3], see `SampleStore.pixel_sums`."""
        if self.statistics and not self.has_mean_image:
            raise ValueError(f"{self.called} has no mean image: its images are of several sizes")
        return np.sum([part.pixel_sums for part in self.parts], axis=0)

    def statistics_source(self) -> SampleStore:
        """The training data of all parts: what each would use alone, every dataset once."""
        sources: list[SampleStore] = []
        for part in self.parts:
            source = part.statistics_source()
            if source not in sources:
                sources.append(source)
        if sources == list(self.parts):
            return self
        return sources[0] if len(sources) == 1 else Joined(tuple(sources))

    def name(self, row: int) -> str:
        """A sample as messages name it: the shard's file, and the id and the key that it has there."""
        part, row = at(self._first_rows, row)
        return self.parts[part].name(row)

    def shard_memory(self, number: int, cancelled: Callable[[], bool] = never) -> MappedFile:
        """Shard `number` in memory, see `SampleStore.shard_memory`."""
        part, number = at(self._first_shards, number)
        return self.parts[part].shard_memory(number, cancelled)

    @cached_property
    def _first_rows(self) -> list[int]:
        return list(accumulate(map(len, self.parts), initial=0))

    @cached_property
    def _first_shards(self) -> list[int]:
        return list(accumulate((len(part.shard_bytes) for part in self.parts), initial=0))


def at(first: Sequence[int], number: int) -> tuple[int, int]:
    """In which part a row or shard lies, and its number there; `first` is that of each part, and the end of all."""
    part = int(np.searchsorted(first, number, side="right")) - 1
    return part, number - first[part]


def told(part: SampleStore, share: int) -> str:
    """What an epoch of a mix takes of a part, in words that hide no repetition."""
    again = f", each {share / len(part):.3g} times on average" if share > len(part) else ""
    return f"{share} from the {len(part)} of {part.called}{again}"


def united(parts: Sequence[tuple[Class, ...]], names: Sequence[str]) -> tuple[Class, ...]:
    """The classes of all parts, each WordNet id once, with the words that it has in the first part that has it.

    Where all parts have the same classes in the same order, this stays; else they are sorted by WordNet id, or by
    number where nobody has named them. Raises `ValueError` where one part has names and another numbers; `names` are
    those of the parts.
    """
    first: dict[str, Class] = {}
    for classes in parts:
        for each in classes:
            first.setdefault(each.wnid, each)
    if len({tuple(each.wnid for each in classes) for classes in parts}) == 1:
        return tuple(first.values())
    numbered = [all(each.wnid.isdecimal() for each in classes) for classes in parts]
    if len(set(numbered)) > 1:
        number, name = (names[numbered.index(kind)] for kind in (True, False))
        raise ValueError(
            f"the classes of {number} are numbers and those of {name} are names: name those of the former in a "
            "classes.txt beside its shards"
        )
    return tuple(first[wnid] for wnid in sorted(first, key=int if numbered[0] else str))
