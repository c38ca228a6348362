"""Zip archives of class folders, read in place: `photos.zip` with `cat/1.jpg`, or `train/cat/1.jpg`, in it.

What an archive holds counts as a folder of the same files, so classes, splits and keys are those of `class_folders.py`.
A folder that all members lie in is passed over. Several archives count as one folder; those that are called `train.zip`
and `val.zip` as its splits. A stored member is a range of the archive; a deflated one is unpacked when it is read.
"""

from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.input_folder import FILES, NOT_DATA, InputFolder, named
from imagefeed.pipeline.formats.zip import DEFLATED, STORED, data_offsets, read_members
from imagefeed.pipeline.sources import class_folders
from imagefeed.pipeline.sources.found import found_there
from imagefeed.pipeline.sources.image_table import IMAGE, Source
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.split_names import by_split, split_called
from imagefeed.pipeline.sources.whole import with_left_out

ARCHIVE = r".*\.(?i:zip)"
JUNK = rf"(?:^|/)(?:\.|(?:__MACOSX|{'|'.join(sorted(NOT_DATA))})/)"


class Listed(NamedTuple):
    """What an archive holds, as a folder would."""

    files: pa.Table  # `FILES`
    place: pa.Table  # of each that is an image: name, file (as a locator), offset and size


def recognises(files: pa.Table) -> bool:
    """Whether there are zip archives."""
    return len(named(files, ARCHIVE)) > 0


def open_source(origin: InputFolder, files: pa.Table, reading: ReadOptions = ReadOptions()) -> Source:
    """Lists the images. Raises `ValueError` for an archive that is damaged or encrypted, or holds no class folders."""
    parts = by_split(named(files, ARCHIVE), origin.root)
    listed, notes = [], []
    for split, table in parts.items():
        for file in table.to_pylist():
            found, top = list_archive(origin, file)
            if top:
                notes.append(f"in {file['name']}: what lies below {top}")
            listed.append(below(found, f"{split}/" if len(parts) > 1 else ""))
    every = pa.concat_tables([each.files for each in listed]).sort_by("name").combine_chunks()
    place = pa.concat_tables([each.place for each in listed]).combine_chunks()
    if not class_folders.recognises(every):
        names = ", ".join(name for table in parts.values() for name in table["name"].to_pylist()[:3])
        raise ValueError(f"{origin.root}: no class folders with images in {names}, but {found_there(every)}: unzip")
    source = with_left_out(class_folders.open_source(origin, every, reading), every)
    splits = {
        split if list(source.splits) != ["train"] else next(iter(parts)): located(table, place)
        for split, table in source.splits.items()
    }
    return replace(source, kind="zip", splits=splits, notes=(*notes, *source.notes))


def list_archive(origin: InputFolder, file: dict) -> tuple[Listed, str]:
    """What an archive (a row of `FILES`) holds, and the folder that all of it lies in, "" for none."""
    name = origin.path(file["name"])
    with origin.open(file["name"], file["size"]) as opened:
        members = read_members(opened, file["size"], name)
        kept = pc.invert(pc.match_substring_regex(members.name, JUNK)).to_numpy(zero_copy_only=False)
        odd = pc.match_substring_regex(members.name, r"^/|(?:^|/)\.\.(?:/|$)|\\").to_numpy(zero_copy_only=False)
        if (odd & kept).any():
            member = members.name[int((odd & kept).argmax())]
            raise ValueError(
                f"{name}: the member {member} leads out of the archive or has \\ in its name: pack it again"
            )
        is_image = kept & pc.match_substring_regex(members.name, f"(?s)^{IMAGE}$").to_numpy(zero_copy_only=False)
        images = np.flatnonzero(is_image)
        for wrong, why in (
            (members.is_encrypted[images], "is encrypted"),
            (~np.isin(members.method[images], (STORED, DEFLATED)), "is packed by a method that is not read"),
            ((members.method == STORED)[images] & (members.packed != members.size)[images], "has two sizes"),
        ):
            if wrong.any():
                member = members.name[int(images[int(wrong.argmax())])]
                raise ValueError(
                    f"{name}: the member {member} {why}: unzip the archive, or pack it again with zip -0 -r"
                )
        offsets = data_offsets(opened, members, images, name)
    if (offsets + members.packed[images] > file["size"]).any():
        raise ValueError(f"{name} is cut short: a member goes on beyond its end; get the file again")
    names = members.name.filter(pa.array(kept))
    if pc.any(pc.ends_with(names, "/")).as_py():
        names = names.filter(pc.invert(pc.is_in(names, value_set=pa.array(sorted(full_folders(names)), pa.string()))))
    top = top_folder(members.name.take(pa.array(images)))
    names = names.filter(pc.starts_with(names, top)) if top else names
    sizes = pc.cast(pa.array(members.size[images]), pa.string())
    packed = pc.binary_join_element_wise(f"{file['name']}#deflate", sizes, "/")
    place = {
        "name": members.name.take(pa.array(images)),
        "file": pc.if_else(pa.array(members.method[images] == DEFLATED), packed, file["name"]),
        "offset": pa.array(offsets),
        "size": pa.array(members.packed[images]),
        "stamp": pa.array(np.full(len(images), file["stamp"])),
    }
    zeros = pa.array(np.zeros(len(names), np.int64))
    return below(Listed(pa.table([names, zeros, zeros], FILES), pa.table(place)), "", len(top)), top


def below(listed: Listed, prefix: str, cut: int = 0) -> Listed:
    """The same with names behind a prefix, and without their first `cut` characters."""
    if not prefix and not cut:
        return listed
    tables = []
    for table in listed:
        names = pc.utf8_slice_codeunits(table["name"], cut)
        tables.append(table.set_column(0, "name", pc.binary_join_element_wise(prefix, names, "")))
    return Listed(*tables)


def full_folders(names: pa.Array) -> set[str]:
    """The folders, with their strokes, that hold something: what is an entry of its own for them tells nothing."""
    folders = set(pc.unique(pc.replace_substring_regex(names, r"(?s)[^/]+/?$", "")).to_pylist())
    for folder in list(folders):
        parts = folder.split("/")
        folders |= {"/".join(parts[:end]) + "/" for end in range(1, len(parts))}
    return folders - {"", "/"}


def top_folder(images: pa.Array) -> str:
    """The folder that all images (text [n]) lie in, with its stroke, if there are class folders below it; else ""."""
    if not len(images):
        return ""
    ends = pc.min_max(images).as_py()
    deep = pc.min(pc.count_substring(images, "/")).as_py() - 1
    pairs = zip(ends["min"].split("/"), ends["max"].split("/"), strict=False)
    shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)][: max(deep, 0)]
    if shared and split_called(shared[-1]):
        shared.pop()
    return "".join(f"{each}/" for each in shared)


def located(table: pa.Table, place: pa.Table) -> pa.Table:
    """A split whose rows name members, as ranges of the archives."""
    rows = pc.index_in(table["file"].combine_chunks(), value_set=place["name"].combine_chunks())
    for column in ("file", "offset", "size", "stamp"):
        index = table.schema.get_field_index(column)
        table = table.set_column(index, table.schema.field(index), place[column].take(rows))
    return table
