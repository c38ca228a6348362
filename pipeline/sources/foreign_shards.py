"""Shards that others made: WebDataset tars (an image with `cls` or `json`, or the class in its name), FFCV's betons.

They may lie in `train/` and `val/`, or have these words in their names, or a file of Energon says (`energon.py`). The
samples are those that `dataset.index` finds, from the headers alone. In a beton a sample has no name: its key is the
file and its number. Where the keys of several tars are the same, the name of the file stands before each key of the
split.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.classes import label_all
from imagefeed.pipeline.dataset.fields import check_there, joined
from imagefeed.pipeline.dataset.manifest import MANIFEST
from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, named
from imagefeed.pipeline.formats.containers import LISTERS
from imagefeed.pipeline.formats.listing import Listing
from imagefeed.pipeline.image.stored import RAW
from imagefeed.pipeline.sources.class_names import read_names
from imagefeed.pipeline.sources.class_order import BY_FILE
from imagefeed.pipeline.sources.energon import energon_parts
from imagefeed.pipeline.sources.found import packed_tars
from imagefeed.pipeline.sources.ilsvrc2012 import FILES
from imagefeed.pipeline.sources.image_table import BY_NAME, BY_NUMBER, Source, by_key, relative, rows
from imagefeed.pipeline.sources.sample_members import read_columns
from imagefeed.pipeline.sources.split_names import by_split

SHARD = r"(?:(?:train|val|valid|validation|test)/)?[^/]*\.(?:tar|beton)"
PACKED = SHARD.replace("(?:tar|beton)", "(?:tar|tgz).*")


def recognises(files: pa.Table) -> bool:
    """Whether there are tars or betons which are neither the ILSVRC2012 downloads nor ours, with a manifest."""
    found = set(named(files, SHARD)["name"].to_pylist()) - set(FILES)
    return len(found) > 0 and not len(named(files, f"(?:.*/)?{MANIFEST}"))


def open_source(origin: InputFolder, files: pa.Table, fields: Sequence[str] = ()) -> Source:
    """Lists the images, with `fields` of the samples in tars behind the columns of `SCHEMA`.

    Raises `ValueError` with the file and the sample where a shard is not whole.
    """
    if packed := [name for name in packed_tars(files) if re.fullmatch(PACKED, name)]:
        raise ValueError(
            f"{origin.path(packed[0])} is compressed, so no part of it can be read alone: decompress it first, or name "
            "the others with a pattern such as 'DIR/*.tar'"
        )
    kinds = {name.rpartition(".")[2] for name in named(files, SHARD)["name"].to_pylist()}
    if len(kinds) > 1:
        raise ValueError(f"{origin.root} has tars and betons: name one kind, with a pattern such as 'DIR/*.tar'")
    if kinds == {"beton"}:
        check_there(fields, (), origin.root, "column")
    parts = energon_parts(origin, files) or by_split(named(files, SHARD), origin.root)
    found = [(split, file) for split, table in parts.items() for file in table.to_pylist()]
    with ThreadPoolExecutor(REQUESTS) as pool:
        listed = list(pool.map(lambda each: list_shard(origin, each[1], fields), found))
    listings, columns = [each for each, _ in listed], [each for _, each in listed]
    keys = [keys_of(file["name"], listing) for (_, file), listing in zip(found, listings, strict=True)]
    paths = [origin.path(file["name"]) for _, file in found]
    given = read_names(origin, files)
    labels, classes = label_all(listings, paths, given)
    ends = np.cumsum([len(each.label) for each in listings])
    tables: dict[str, list[pa.Table]] = {split: [] for split in parts}
    several = {
        split for split in parts if again([key for (part, _), key in zip(found, keys, strict=True) if part == split])
    }
    for (split, file), listing, key, more, end in zip(found, listings, keys, columns, ends.tolist(), strict=True):
        if split in several:
            key = numbered_in(file["name"], key)
        table = images(file, listing, key, labels[end - len(listing.label) : end])
        for name, column in more.items():
            table = table.append_column(name, column)
        tables[split].append(table)
    return Source(
        kind=kinds.pop(),
        root=origin.root,
        classes=classes,
        rule=BY_FILE if given else BY_NUMBER if listings[0].classes is None else BY_NAME,
        splits={split: by_key(joined(each, origin.root), origin.root) for split, each in tables.items()},
    )


def list_shard(origin: InputFolder, file: dict, fields: Sequence[str]) -> tuple[Listing, dict[str, pa.Array]]:
    """What a shard (a row of `origin.FILES`) holds, and the columns `fields` of its samples."""
    name = origin.path(file["name"])
    with origin.open(file["name"], file["size"]) as opened:
        listing = LISTERS[file["name"].rpartition(".")[2]](opened, file["size"], name)
        return listing, read_columns(opened, file["size"], name, listing.key, fields)


def keys_of(file: str, listing: Listing) -> pa.Array:
    """The keys (text [n]) of the samples of a shard."""
    if file.endswith(".beton"):
        return numbered_in(file, pa.array([f"{number:08d}" for number in range(len(listing.key))], pa.string()))
    return relative(listing.key)


def numbered_in(file: str, keys: pa.Array) -> pa.Array:
    """Keys that are unique in a shard as keys that are in the source: behind the name of the file."""
    return pc.binary_join_element_wise(file.rpartition(".")[0], keys, "/")


def again(keys: list[pa.Array]) -> bool:
    """Whether keys of one shard are another's too."""
    every = pa.chunked_array(keys)
    return len(pc.unique(every)) < len(every)


def images(file: dict, listing: Listing, key: pa.Array, labels: np.ndarray) -> pa.Table:
    """The samples of a shard as rows with `key` (text [n]) and `labels` (int64 [n])."""
    count = len(labels)
    return rows(
        key=key,
        label=labels,
        file=addresses(file["name"], listing.kind, listing.height, listing.width),
        offset=listing.offset,
        size=listing.size,
        stamp=np.full(count, file["stamp"]),
    )


def addresses(file: str, kind: np.ndarray, height: np.ndarray, width: np.ndarray) -> pa.Array:
    """The addresses of samples of one shard: raw pixels need their size (pixels, [n]) beside the file."""
    sides = (pc.cast(pa.array(side), pa.string()) for side in (height, width))
    raw = pc.binary_join_element_wise(f"{file}#raw/", pc.binary_join_element_wise(*sides, "x"), "")
    return pc.if_else(pa.array(kind == RAW), raw, file)
