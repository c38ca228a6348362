"""One table for every kind of source: a row says which bytes of which file are an image, and its class."""

import hashlib
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.digests import spell_classes
from imagefeed.pipeline.dataset.fields import Field, settled, spell
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.formats.left_out import LeftOut

SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # unique within the split, no dot in its last part, no suffix
        ("label", pa.int32()),
        ("file", pa.string()),  # relative to the source's root; see `locator.py` for what may follow a `#`
        ("offset", pa.int64()),  # bytes
        ("size", pa.int64()),  # bytes
        ("stamp", pa.int64()),  # of the file when it was listed, see `origin.FILES`
    ]
)
BY_NAME = "alphabetical order of the names"
BY_NUMBER = "the source's own numbers"
SLICE = 1 << 16  # rows that are Python objects at once
SUFFIXES = (
    *("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"),
    *("jfif", "jpe", "avif", "jp2", "heic", "heif", "ppm", "pgm", "pnm"),  # what Pillow lacks goes to quarantine
)
FLAT = f"(?i:[^/]*\\.(?:{'|'.join(SUFFIXES)}))"  # a regular expression (RE2) for the names of images in one folder
IMAGE = f"(?:.*/)?{FLAT}"  # and in folders, however deep


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images, ready to be read: `splits` maps "train", "val" to tables of `SCHEMA`, sorted by key, and of fields."""

    kind: str
    root: str  # an absolute path or a URL
    classes: tuple[Class, ...]
    splits: dict[str, pa.Table]
    used: tuple[str, ...] = ()  # files that it was read from beside those of its images: names, kits, lists, shards
    left_out: LeftOut = LeftOut()  # what else is there
    fields: dict[str, Field] = field(default_factory=dict)  # columns that every table has behind those of `SCHEMA`
    rule: str = BY_NUMBER  # by which the classes are numbered, in words; see `class_order.py`
    notes: tuple[str, ...] = ()  # what a user should know of how the source was understood, a line each

    def digest(self, split: str) -> str:
        """SHA-256 of all that names the images of a split, and of nothing that depends on where they lie or when."""
        table = self.splits[split]
        state = hashlib.sha256(f"({self.kind!r}, {split!r}, {spell_classes(self.classes)})".encode())
        for name in ("key", "file"):
            for start in range(0, len(table), SLICE):
                text = "\n".join(table[name].slice(start, SLICE).to_pylist())
                state.update(("\n" * (start > 0) + text).encode("utf-8", "surrogateescape"))
        for name in ("label", "offset", "size"):
            state.update(table[name].to_numpy().astype("<i8").tobytes())
        for name in sorted(self.fields):
            state.update(name.encode())
            for part in spell(self.fields[name], table[name]):
                state.update(part)
        return state.hexdigest()


def with_fields(source: Source, names: Sequence[str]) -> Source:
    """`source` with the columns `names`, which its tables have as they were found, as fields.

    Raises `ValueError` with the sample where a value cannot be one.
    """
    for name in names:
        found, splits = settled(name, source.splits, source.root)
        source = replace(source, splits=splits, fields={**source.fields, name: found})
    return source


def rows(
    *, key: pa.Array, label: np.ndarray, file: pa.Array, offset: np.ndarray, size: np.ndarray, stamp: np.ndarray
) -> pa.Table:
    """Columns of n images each, or chunked ones, as a table of `SCHEMA`; numbers may be of any width."""
    columns = {"key": key, "label": label, "file": file, "offset": offset, "size": size, "stamp": stamp}
    return pa.table(columns).cast(SCHEMA)


def whole_files(files: pa.Table, key: pa.Array, label: np.ndarray) -> pa.Table:
    """A table of `SCHEMA` for images that are files of their own (`origin.FILES`)."""
    return rows(
        key=key,
        label=label,
        file=files["name"],
        offset=np.zeros(len(files), np.int64),
        size=files["size"],
        stamp=files["stamp"],
    )


def by_key(table: pa.Table, where: str) -> pa.Table:
    """The table sorted by key. Raises `ValueError` where there is no row, or a key twice."""
    if not len(table):
        raise ValueError(f"{where} holds not one image")
    table = table.take(pc.sort_indices(table, [("key", "ascending")])).combine_chunks()
    keys = table["key"]
    twice = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    if pc.any(twice).as_py():
        row, count = pc.index(twice, True).as_py(), pc.sum(twice).as_py()
        files = table["file"].slice(row, 2).to_pylist()
        others = f", and {count - 1:,} others like them" if count > 1 else ""
        cure = "list it once" if files[0] == files[1] else "rename one"
        raise ValueError(
            f"{where}: two images have the key {keys[row].as_py()}: {files[0]} and {files[1]}{others}; {cure}"
        )
    return table


def key_of(names: pa.Array) -> pa.Array:
    """Keys from names of files: without the suffix, and without dots in the last part, where WebDataset ends a key."""
    stems = pc.replace_substring_regex(names, r"\.[^./]*$", "")
    dotted = pc.match_substring_regex(stems, r"\.[^/]*$")
    if not pc.any(dotted).as_py():
        return stems
    return without_dots(stems, "_")


def without_dots(names: pa.Array, instead: str) -> pa.Array:
    """Names with something instead of each dot in the last part."""
    fixed = [
        name
        if "." not in (tail := name.rpartition("/")[2])
        else name[: len(name) - len(tail)] + tail.replace(".", instead)
        for name in names.to_pylist()
    ]
    return pa.array(fixed, pa.string())


def unique_keys(names: pa.Array) -> pa.Array:
    """Keys as those of `key_of`; of names that would have the same one each keeps its suffix.

    x.jpg and x.png become x_jpg and x_png. Where that is another's key too, dots are spelled out: x%2Ejpg.
    """
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    keys = key_of(names)
    for instead in ("_", "%2E"):
        counts = pc.value_counts(keys)
        if len(counts) == len(keys):
            break
        several = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))
        twice = pc.is_in(keys, value_set=pc.struct_field(several, "values"))
        keys = pc.replace_with_mask(keys, twice, without_dots(names.filter(twice), instead))
    return keys


def relative(names: pa.Array) -> pa.Array:
    """Names that lead nowhere but down: of `/a/x` and `../a/x`, and of `b/../a/x`, `a/x` is left."""
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    odd = pc.match_substring_regex(names, r"^/|(?:^|/)\.\.(?:/|$)")
    if not pc.any(odd).as_py():
        return names
    fixed = [re.sub(r"^(?:\.\./|/)+", "", posixpath.normpath(name)) for name in names.filter(odd).to_pylist()]
    return pc.replace_with_mask(names, odd, pa.array(fixed, pa.string()))


def last_part(names: pa.Array) -> pa.Array:
    """What follows the last stroke."""
    return pc.replace_substring_regex(names, r"(?s)^.*/", "")


def labels_of(found: pa.Array, classes: tuple[Class, ...], what: str) -> np.ndarray:
    """Places (int64 [n]) in `classes` of the WordNet ids or names `found`. `ValueError` for one that is not there."""
    labels = pc.index_in(found, pa.array([each.wnid for each in classes], pa.string()))
    if labels.null_count:
        unknown = pc.filter(found, pc.is_null(labels))[0].as_py()
        raise ValueError(f"{what} has the class {unknown}, which is not among the {len(classes)} known ones")
    return labels.to_numpy(zero_copy_only=False) if isinstance(labels, pa.Array) else labels.to_numpy()
