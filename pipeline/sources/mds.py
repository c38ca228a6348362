"""MosaicML's MDS (streaming): shards `shard.00000.mds` and an `index.json` that names them, in a folder a split.

A shard is as `formats/sized_fields.py` says, with the columns in JSON behind the offsets. Images are columns of `jpeg`,
`png` or `bytes`, which hold image files, or of `pil`, raw pixels. The format knows no class names: they are those of
`classes.txt`, or the labels themselves where these are text.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.fields import check_there
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.files.ranged import Readable, pread
from imagefeed.pipeline.formats.sized_fields import find_fields, pil_images, read_numbers, read_offsets, read_texts
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.records import LABELS, Samples, choose_column, open_records, samples_of
from imagefeed.pipeline.sources.split_names import by_split

SHARD = r".*\.mds"
PACKED = r".*\.mds\.[a-z0-9]+"
INDEX = "index.json"
FILES = ("jpeg", "png", "bytes")  # encodings of an image file as it is
NUMBERS = {
    "int": "<i8",
    **{f"{sign}int{bits}": f"<{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
TEXT = ("str", "str_int", "str_float")


class Column(NamedTuple):
    """A column of a shard."""

    name: str
    encoding: str
    size: int | None  # bytes, where all values have the same


def recognises(files: pa.Table) -> bool:
    """Whether there are shards, compressed or not."""
    return len(named(files, f"{SHARD}|{PACKED}")) > 0


def open_source(
    origin: InputFolder, files: pa.Table, fields: Sequence[str] = (), reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images, with the columns `fields` behind those of `SCHEMA`.

    Raises `ValueError` for a shard that is compressed, damaged or missing, or has other columns.
    """
    shards = named(files, SHARD)
    counts = check_indexes(origin, files)
    if not len(shards):
        raise packed_error(origin, named(files, PACKED)["name"][0].as_py())
    parts = by_split(shards, origin.root)
    return open_records(
        "mds", origin, files, parts, lambda file: list_file(origin, file, fields, reading, counts), reading
    )


def check_indexes(origin: InputFolder, files: pa.Table) -> dict[str, int]:
    """How many samples each shard has, as the indexes say; none where only shards were named.

    Raises `ValueError` for a shard that is missing, of another size, or that no index names.
    """
    sizes = dict(zip(files["name"].to_pylist(), files["size"].to_pylist(), strict=True))
    counts: dict[str, int] = {}
    for name in named(files, f"(?:.*/)?{INDEX}")["name"].to_pylist():
        folder = name.removesuffix(INDEX)
        try:
            shards = json.loads(origin.read(name))["shards"]
            listed = [
                (each["format"], folder + each["raw_data"]["basename"], each["raw_data"]["bytes"], each["samples"])
                for each in shards
            ]
            packed = [each["zip_data"] and folder + each["zip_data"]["basename"] for each in shards]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{origin.path(name)} is no index of MDS ({error!r}): write the dataset again") from error
        for (kind, shard, size, count), other in zip(listed, packed, strict=True):
            if kind != "mds":
                raise ValueError(f"{origin.path(shard)} is of the format {kind}: write it with MDSWriter")
            if shard not in sizes and other in sizes:
                raise packed_error(origin, other)
            if sizes.get(shard, -1) != size:
                raise ValueError(
                    f"{origin.path(shard)} is missing or has not the {size} bytes that {INDEX} says: restore it"
                )
            counts[shard] = count
    if odd := [name for name in named(files, SHARD)["name"].to_pylist() if counts and name not in counts]:
        raise ValueError(f"{origin.path(odd[0])} is in no {INDEX}: remove it, or name the folders that are meant")
    return counts


def packed_error(origin: InputFolder, shard: str) -> ValueError:
    """What is said of a shard that is compressed."""
    last = shard.rpartition("/")[2]
    plain, _, suffix = last.rpartition(".")
    how = f" ({suffix} -d {last} -o {plain})" if suffix == "zstd" else f" (as {plain})"
    return ValueError(
        f"{origin.path(shard)} is compressed, and no part of it can be read alone: decompress all beside "
        f"themselves{how}, or write them again without compression"
    )


def list_file(
    origin: InputFolder, file: dict, fields: Sequence[str], reading: ReadOptions, counts: dict[str, int]
) -> Samples:
    """The samples of a shard (a row of `FILES`)."""
    name, base = origin.path(file["name"]), file["name"]
    with origin.open(base, file["size"]) as opened:
        offsets = read_offsets(opened, file["size"], name)
        count = len(offsets) - 1
        if counts.get(base, count) != count or offsets[-1] != file["size"]:
            raise ValueError(
                f"{name} is damaged: it has {count} samples to byte {offsets[-1]}, and {counts.get(base, count)} in "
                f"{file['size']} bytes are expected; get the file again"
            )
        columns = read_columns(opened, 4 * (count + 2), int(offsets[0]), name)
        there = [each.name for each in columns]
        image = choose_image(columns, reading, name)
        label = choose_column([each for each in there if each != image.name], LABELS, reading.label, "label", name)
        check_there(fields, there, name, "column")
        starts, sizes = find_fields(opened, offsets, [each.size for each in columns], name)

        def values(wanted: str) -> np.ndarray | pa.Array:
            place = there.index(wanted)
            return read_values(opened, columns[place], starts[:, place], sizes[:, place], name)

        place = there.index(image.name)
        where = pa.repeat(base, count), starts[:, place], sizes[:, place]
        if image.encoding == "pil":
            where = pil_images(opened, *where[1:], name, base)
        return samples_of(where, values, label, fields, f"{name}: the column")


def read_columns(file: Readable, start: int, stop: int, name: str) -> list[Column]:
    """The columns of a shard, from the JSON between its offsets and its samples."""
    try:
        config = json.loads(pread(file, stop - start, start))
        names, encodings, sizes = (config[f"column_{each}"] for each in ("names", "encodings", "sizes"))
        columns = [Column(*each) for each in zip(names, encodings, sizes, strict=True)]
        if not all(isinstance(each.encoding, str) and (each.size is None or each.size >= 0) for each in columns):
            raise ValueError(columns)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} is damaged: its columns cannot be read ({error!r}); get the file again") from error
    return columns


def choose_image(columns: list[Column], reading: ReadOptions, name: str) -> Column:
    """The column of images."""
    found = [each for each in columns if each.encoding in (*FILES, "pil")]
    sure = [each for each in found if each.encoding != "bytes"] or found
    if reading.image is None and len(sure) == 1:
        return sure[0]
    said = ", ".join(f"{each.name} ({each.encoding})" for each in columns)
    if reading.image is None or reading.image not in [each.name for each in found]:
        raise ValueError(
            f"{name} has the columns {said}: expected one of {', '.join((*FILES, 'pil'))}"
            + (f"; name the images, such as --image {found[0].name}" if found else ": write the images as jpeg or png")
        )
    return next(each for each in found if each.name == reading.image)


def read_values(
    file: Readable, column: Column, starts: np.ndarray, sizes: np.ndarray, name: str
) -> np.ndarray | pa.Array:
    """The values of a column of numbers or text; text that spells numbers as numbers."""
    if column.encoding in NUMBERS:
        return read_numbers(file, starts, sizes, NUMBERS[column.encoding], name)
    if column.encoding not in TEXT:
        raise ValueError(
            f"{name}: the column {column.name} is of the encoding {column.encoding}, of which no numbers and no text "
            f"are read: write it as one of int, {', '.join(TEXT)}"
        )
    texts = read_texts(file, starts, sizes, name)
    if column.encoding == "str":
        return texts
    try:
        return pc.cast(texts, pa.int64() if column.encoding == "str_int" else pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: the column {column.name} spells no numbers ({error}): get the file again") from error
