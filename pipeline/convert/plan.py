"""What a conversion is to make: a split, where it goes in each format, and the task of each of its shards."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import pyarrow as pa

from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.write_shard import ShardTask
from imagefeed.pipeline.dataset.digests import spell_storage
from imagefeed.pipeline.files.output_folder import OutputFolder
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.image.stored import Storage
from imagefeed.pipeline.sampling.shard_plan import costliest_first, shard_ids, split_evenly
from imagefeed.pipeline.sources.image_table import SCHEMA, Source


class Shaping(NamedTuple):
    """The options of a conversion that shape the bytes of its shards, once the images are listed."""

    storage: Storage
    decode_all: bool
    shard_size: int
    shuffle: int | Literal["none"]

    @classmethod
    def of(cls, options: ConvertOptions) -> "Shaping":
        """Those among `options`."""
        return cls(options.storage(), options.decode_all, options.shard_size, options.shuffle)


def split_digest(listing: str, shaping: Shaping) -> str:
    """SHA-256 of the digest of a listing and of what shapes its shards."""
    options = f"{shaping.decode_all!r}, {shaping.shard_size!r}, {shaping.shuffle!r}"
    return hashlib.sha256(f"{listing} ({spell_storage(shaping.storage)}, {options})".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """One split to be made: what from, and where to in each format."""

    name: str
    source: Source
    out: dict[Format, OutputFolder]
    options: ConvertOptions

    @property
    def table(self) -> pa.Table:
        """The source's rows; a sample's id is its place here."""
        return self.source.splits[self.name]

    @cached_property
    def listing(self) -> str:
        """SHA-256 of the listing of the split's images."""
        return self.source.digest(self.name)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the listing and of every option that shapes the bytes: equal digests mean equal shards."""
        return split_digest(self.listing, Shaping.of(self.options))

    @property
    def num_shards(self) -> int:
        """How many shards the split becomes."""
        return len(split_evenly(len(self.table), self.options.shard_size))

    def tasks(self) -> Iterator[ShardTask]:
        """One task a shard, made when asked for: together they hold the whole table. The costliest come first."""
        shuffle = None if self.options.shuffle == "none" else self.options.shuffle
        parts = shard_ids(len(self.table), self.options.shard_size, shuffle)
        for number in costliest_first(parts, self.table["size"].to_numpy()):
            ids = parts[number]
            rows = self.table.select(SCHEMA.names).take(ids)  # of fields the shards know nothing
            stamps = rows["stamp"].to_numpy().astype("<i8").tobytes()
            yield ShardTask(
                number=number,
                root=self.source.root,
                out=self.out,
                ids=ids,
                rows=rows,
                storage=self.options.storage(),
                decode_all=self.options.decode_all,
                digest=hashlib.sha256(self.digest.encode() + stamps).hexdigest(),
                quarantine_unread=self.options.on_error == "quarantine",
            )


def plan_split(source: Source, name: str, out: OutputFolder, options: ConvertOptions) -> SplitPlan:
    """One split of `source`, with the folders below `out` that it goes to."""
    folders: dict[Format, OutputFolder] = {
        format: out.below(folder) for format, folder in options.folders(name).items()
    }
    return SplitPlan(name=name, source=source, out=folders, options=options)
