"""Shards that others made: WebDataset tars (an image with `cls` or `json`, or the class in its name), FFCV's betons.

They may lie in folders of splits, or have their words in their names, or a file of Energon says (`energon.py`), or else
the keys of the samples may begin with such folders. The samples are those that `dataset.index` finds, from the headers
alone. In a beton a sample has no name: its key is the file and its number. Where the keys of several tars are the same,
the name of the file stands before each key of the split.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.classes import NAME_FILES, label_all
from imagefeed.pipeline.dataset.fields import check_there, joined
from imagefeed.pipeline.dataset.manifest import MANIFEST, Class
from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, named
from imagefeed.pipeline.formats import webdataset
from imagefeed.pipeline.formats.containers import LISTERS
from imagefeed.pipeline.formats.left_out import LeftOut
from imagefeed.pipeline.formats.listing import Listing, Unlabelled, check_labels
from imagefeed.pipeline.image.stored import RAW
from imagefeed.pipeline.sources.class_names import name_classes, read_names
from imagefeed.pipeline.sources.class_order import BY_FILE
from imagefeed.pipeline.sources.doubts import check_class_names
from imagefeed.pipeline.sources.energon import energon_parts
from imagefeed.pipeline.sources.found import packed_tars
from imagefeed.pipeline.sources.ilsvrc2012 import FILES
from imagefeed.pipeline.sources.image_table import BY_NAME, BY_NUMBER, IMAGE, Source, by_key, relative, rows
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.sample_members import read_columns
from imagefeed.pipeline.sources.split_names import NO_LABELS, NOT_ASKED, ORDER, SPLITS, WORD, by_split, chosen

SHARD = r"[^/]*\.(?:tar|beton)"
NEAR = rf"(?:(?i:{'|'.join(SPLITS)})/)?{SHARD}"
DEEP = (
    rf"(?:[^/]+/){{0,3}}{SHARD}"  # taken where there are no images in folders: beside them they are part of something
)
IN_KEY = rf"(?s)^(?:[^/]+/)?(?P<split>(?i:{'|'.join(SPLITS)}))/"
PACKED = NEAR.replace("(?:tar|beton)", "(?:tar|tgz).*")


def recognises(files: pa.Table) -> bool:
    """Whether there are tars or betons which are neither the ILSVRC2012 downloads nor ours, with a manifest."""
    found = set(shards_in(files)["name"].to_pylist()) - set(FILES)
    return len(found) > 0 and not len(named(files, f"(?:.*/)?{MANIFEST}"))


def shards_in(files: pa.Table) -> pa.Table:
    """The tars and betons of a listing."""
    near = named(files, NEAR)
    return near if len(near) or len(named(files, f"[^/]+/{IMAGE}")) else named(files, DEEP)


def only_kind(origin: InputFolder, files: pa.Table, shards: pa.Table) -> str:
    """ "tar" or "beton". Raises `ValueError` where `shards` are both, or tars among `files` are compressed."""
    if packed := [name for name in packed_tars(files) if re.fullmatch(PACKED, name)]:
        raise ValueError(
            f"{origin.path(packed[0])} is compressed, so no part of it can be read alone: decompress it first, or name "
            "the others with a pattern such as 'DIR/*.tar'"
        )
    kinds = {name.rpartition(".")[2] for name in shards["name"].to_pylist()}
    if len(kinds) > 1:
        raise ValueError(f"{origin.root} has tars and betons: name one kind, with a pattern such as 'DIR/*.tar'")
    return kinds.pop()


def says_split(shards: pa.Table) -> bool:
    """Whether the names of shards (`FILES`) say which split they belong to."""
    return WORD.search(shards["name"][0].as_py()) is not None


def open_source(
    origin: InputFolder, files: pa.Table, fields: Sequence[str] = (), reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images, with `fields` of the samples in tars behind the columns of `SCHEMA`.

    Raises `ValueError` with the file and the sample where a shard is not whole.
    """
    shards = shards_in(files)
    kind = only_kind(origin, files, shards)
    if kind == "beton":
        check_there(fields, (), origin.root, "column")
    planned = energon_parts(origin, files)
    there = planned or by_split(shards, origin.root)
    in_names = planned is not None or len(there) > 1 or "train" not in there or says_split(shards)
    parts = chosen(there, reading.splits, origin.root) if in_names else there
    found = [(split, file) for split, table in parts.items() for file in table.to_pylist()]
    with ThreadPoolExecutor(REQUESTS) as pool:
        tried = list(pool.map(lambda each: list_shard(origin, each[1], fields, reading, each[0] == "test"), found))
    left = LeftOut(splits={split: NOT_ASKED for split in there if split not in parts})
    bare = {split for (split, _), each in zip(found, tried, strict=True) if each is None}
    for split in bare:
        if len(parts) == 1 or any(each for (part, _), each in zip(found, tried, strict=True) if part == split):
            list_shard(origin, next(file for part, file in found if part == split), fields, reading)  # raises
        left += LeftOut(splits={split: NO_LABELS})
    kept = [(each, listed) for each, listed in zip(found, tried, strict=True) if listed is not None]
    found, listings, columns = [each for each, _ in kept], [each[0] for _, each in kept], [each[1] for _, each in kept]
    keys = [keys_of(file["name"], listing) for (_, file), listing in zip(found, listings, strict=True)]
    paths = [origin.path(file["name"]) for _, file in found]
    given = read_names(origin, files)
    labels, classes = label_all(listings, paths, given or only_class(listings, reading))
    ends = np.cumsum([len(each.label) for each in listings])
    splits = [split for split in parts if split not in bare]
    tables: dict[str, list[pa.Table]] = {split: [] for split in splits}
    several = {
        split for split in splits if again([key for (part, _), key in zip(found, keys, strict=True) if part == split])
    }
    within = {} if in_names or reading.class_folders == "all" else splits_in_keys(keys, listings, origin.root)
    for number, ((split, file), listing, key, more, end) in enumerate(
        zip(found, listings, keys, columns, ends.tolist(), strict=True)
    ):
        if split in several:
            key = numbered_in(file["name"], key)
        table = images(file, listing, key, labels[end - len(listing.label) : end])
        for name, column in more.items():
            table = table.append_column(name, column)
        for part in ORDER if within else ():
            tables.setdefault(part, []).append(table.filter(pc.equal(within[number], part)))
        if not within:
            tables[split].append(table)
        left += listing.left_out.without(fields)
    made = {split: joined(each, origin.root) for split, each in tables.items() if sum(map(len, each))}
    alone = reading.one_class and len(classes) == 1
    if reading.class_folders == "auto" and not alone and listings[0].classes is not None and given is None:
        check_class_names([each.wnid for each in classes], origin.root)
    if given is None and listings[0].classes is None:
        classes = with_words(classes, listings, made)
    return Source(
        kind=kind,
        root=origin.root,
        classes=classes,
        rule=BY_FILE if given else BY_NUMBER if listings[0].classes is None else BY_NAME,
        used=(*shards["name"].to_pylist(), *NAME_FILES),
        left_out=left,
        splits={split: by_key(made[split], origin.root) for split in made},
    )


def only_class(listings: list[Listing], reading: ReadOptions) -> tuple[Class, ...] | None:
    """The one class of shards whose samples all lie in folders of one name, where one class is asked for."""
    names = {name for each in listings for name in each.classes or ("", "")}
    return (
        tuple(Class(name, name) for name in names)
        if reading.one_class and len(names) == 1 and "" not in names
        else None
    )


def splits_in_keys(keys: list[pa.Array], listings: list[Listing], where: str) -> dict[int, pa.Array]:
    """The split (text [n]) of each sample of each shard by the folders that its key begins with; none where they tell
    none. Raises `ValueError` where some tell one and others do not, and the folders are the classes."""
    found = {}
    for number, (key, listing) in enumerate(zip(keys, listings, strict=True)):
        pattern = IN_KEY + (r"[^/]+/" if listing.classes is not None else "")
        words = pc.utf8_lower(pc.struct_field(pc.extract_regex(key, pattern), "split"))
        found[number] = pc.index_in(words, pa.array(list(SPLITS)))
    count, missing = sum(map(len, keys)), sum(each.null_count for each in found.values())
    if missing == count:
        return {}
    if missing:
        if listings[0].classes is None:  # their folders mean nothing
            return {}
        number = next(number for number, each in found.items() if each.null_count)
        odd = keys[number].filter(pc.is_null(found[number]))[0].as_py()
        raise ValueError(
            f"{where} has samples in folders of splits beside {odd}, which is in none: make tars of the splits, or, to "
            "take all as one, --class-folders all"
        )
    values = pa.array([SPLITS[word] for word in SPLITS])
    return {number: values.take(each) for number, each in found.items()}


def with_words(classes: tuple[Class, ...], listings: list[Listing], tables: dict[str, pa.Table]) -> tuple[Class, ...]:
    """Classes that are numbers, by the names that the samples tell, or the WordNet ids in their keys."""
    words: dict[int, set[str]] = {}
    for listing in listings:
        for label, word in listing.words.items():
            words.setdefault(label, set()).add(word)
    single = {label: min(each) for label, each in words.items() if len(each) == 1}
    if len(single) == len(classes) == len(set(single.values())):
        return tuple(Class(single[label], single[label]) for label in range(len(classes)))
    return name_classes(list(tables.values()), [], len(classes))


def list_shard(
    origin: InputFolder, file: dict, fields: Sequence[str], reading: ReadOptions, may_lack_labels: bool = False
) -> tuple[Listing, dict[str, pa.Array]] | None:
    """What a shard (a row of `origin.FILES`) holds, and the columns `fields` of its samples.

    None where not one sample has a label, if that `may` be.
    """
    name, kind = origin.path(file["name"]), file["name"].rpartition(".")[2]
    with origin.open(file["name"], file["size"]) as opened:
        try:
            if kind == "tar":
                listing = webdataset.list_samples(opened, file["size"], name, reading.image, reading.label)
            else:
                listing = LISTERS[kind](opened, file["size"], name)
        except Unlabelled:
            if may_lack_labels:
                return None
            raise
        if reading.first_label and listing.classes is None:
            listing = listing._replace(label=listing.label - reading.first_label)
            check_labels(listing.label, name, listing.key)
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
