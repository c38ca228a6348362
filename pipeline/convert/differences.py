"""How a finished split differs from the one that is asked for, in the words of the options.

Its manifest has the storage, and of the rest a digest, which cannot be read but tried: options that give it, with the
listing of the images as it is now, are those that it was made with. Where none do, images or labels are others.
"""

from collections.abc import Iterator
from itertools import product

from imagefeed.pipeline.convert.plan import Shaping, SplitPlan, split_digest
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.image.stored import Storage
from imagefeed.pipeline.sources.class_order import class_order

MOST_SIZES = 1000  # of shards that are tried, beside the one that is asked for and the default
SEEDS = ("none", *range(100))  # that are tried
AS_OPTIONS = ("resize", "quality", "sampling", "huffman")  # fields of `Storage` that options are called by


def differences(split: SplitPlan, there: Manifest) -> str:
    """What the split that `there` describes was made from or with, and `split` is not: a phrase after "made"."""
    asked = Shaping.of(split.options)
    if there.storage is None:
        return "as an index of shards that others made"
    found = storage_differences(there.storage, asked.storage)
    made = next((each for each in candidates(split, there) if split_digest(split.listing, each) == there.digest), None)
    if made is not None:
        if made.shard_size != asked.shard_size:
            found.append(f"--shard-size {made.shard_size} and not {asked.shard_size}")
        if made.shuffle != asked.shuffle:
            found.append(f"--shuffle {made.shuffle} and not {asked.shuffle}")
        if made.decode_all != asked.decode_all and asked.storage.resize == there.storage.resize:
            found.append("--statistics" if made.decode_all else "no --statistics")
    if there.format not in split.out:
        found.append(f"--format {there.format}")
    return "with " + ", ".join(found) if found else source_difference(split, there)


def candidates(split: SplitPlan, there: Manifest) -> Iterator[Shaping]:
    """What a split may have been made with that has the storage and the number of shards of `there`."""
    assert there.storage is not None
    count, parts = len(split.table), len(there.shards)
    first = -(-count // parts)
    last = (count - 1) // (parts - 1) if parts > 1 else first + MOST_SIZES
    sizes = dict.fromkeys((split.options.shard_size, 4096, *range(first, min(last, first + MOST_SIZES) + 1)))
    for shuffle, size in product(dict.fromkeys((split.options.shuffle, *SEEDS)), sizes):
        for decode_all in (True, False) if there.storage.resize == "none" else (True,):
            yield Shaping(there.storage, decode_all, size, shuffle)


def storage_differences(made: Storage, asked: Storage) -> list[str]:
    """The options, with their values then and now, that make two storages differ."""
    found = [
        f"--{name} {getattr(made, name)} and not {getattr(asked, name)}"
        for name in AS_OPTIONS
        if getattr(made, name) != getattr(asked, name) and not (name != "resize" and made.encoding != asked.encoding)
    ]
    if "raw" in (made.encoding, asked.encoding) and made.encoding != asked.encoding:
        found.append("--raw" if made.encoding == "raw" else "JPEGs and not --raw")
    if not found and made.codec != asked.codec:
        found.append(f"another codec, {made.codec} and not {asked.codec}")
    return found


def source_difference(split: SplitPlan, there: Manifest) -> str:
    """What can be seen of a difference between the images of `there` and those of `split`."""
    source, count = split.source, there.num_samples + there.num_quarantined
    if there.fields != source.fields:
        made, asked = (", ".join(sorted(fields)) or "none" for fields in (there.fields, source.fields))
        return f"with other fields, {made} and not {asked} (--fields)"
    if there.class_order != class_order(source):
        return f"with --order {there.class_order or 'alphabetical'}"
    if there.classes != source.classes:
        made, asked = f"{len(there.classes):,}", f"{len(source.classes):,}"
        return f"with other classes, {made}, and now {asked} (another source, or --classes)"
    if count != len(split.table):
        return (
            f"from {count:,} images, and now there are {len(split.table):,} (another source, --limit or --val-fraction)"
        )
    return "from another source (images of other names, sizes or labels), or with another --shuffle or --shard-size"
