r"""LitData: chunks `chunk-0-0.bin` and an `index.json` that names them and says what a sample is made of.

A chunk is as `formats/sized_fields.py` says, each field behind a size of its own. Images are `jpeg`, `image` or
`bytes`, which hold image files, or `pil`, raw pixels. Samples of bytes, numbers and text alone are rows of Arrow behind
an empty table: Arrow file | its size (u32) | `LDARW01\0`. A field that was pickled is never read: that could execute
anything.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.fields import check_there
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.files.ranged import Readable, pread
from imagefeed.pipeline.formats.sized_fields import find_fields, pil_images, read_numbers, read_offsets, read_texts
from imagefeed.pipeline.sources.arrow import list_stream
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.records import LABELS, Samples, choose_column, open_records, samples_of
from imagefeed.pipeline.sources.split_names import by_split

CHUNK = r"(?:.*/)?chunk-[0-9]+-[0-9]+(?:\.[a-z0-9]+)?\.bin"
INDEX = "index.json"
FILES = ("jpeg", "image", "bytes", "file")  # formats of an image file as it is
NUMBERS = {"int": "<i8", "float": "<f8", "bool": "u1"}
TEXT = ("str", "text")
ROWS = b"LDARW01\0"  # ends a chunk whose samples are rows of Arrow, as those of bytes, numbers and text alone are
PLAIN = "write it again with optimize(...) without compression and encryption, images as Pillow's or as JPEG files"


class Fields(NamedTuple):
    """What the samples of a folder are made of."""

    names: list[str]
    formats: list[str]
    counts: dict[str, int]  # samples of each chunk


def recognises(files: pa.Table) -> bool:
    """Whether there are chunks."""
    return len(named(files, CHUNK)) > 0


def open_source(
    origin: InputFolder, files: pa.Table, fields: Sequence[str] = (), reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images, with `fields` of the samples behind the columns of `SCHEMA`.

    Raises `ValueError` for a chunk that is compressed, damaged or missing, or has other fields.
    """
    chunks = named(files, CHUNK)
    folders = {name[: name.rindex("chunk-")] for name in chunks["name"].to_pylist()}
    made_of = {folder: read_index(origin, files, folder) for folder in sorted(folders)}
    parts = by_split(chunks, origin.root)
    return open_records(
        "litdata", origin, files, parts, lambda file: list_file(origin, file, fields, reading, made_of), reading
    )


def read_index(origin: InputFolder, files: pa.Table, folder: str) -> Fields:
    """What the index of a folder says. Raises `ValueError` where it is not there, or chunks are not all as it says."""
    name = origin.path(folder + INDEX)
    sizes = dict(zip(files["name"].to_pylist(), files["size"].to_pylist(), strict=True))
    try:
        index = json.loads(origin.read(folder + INDEX))
        config = index["config"]
        chunks = {folder + each["filename"]: (each["chunk_bytes"], each["chunk_size"]) for each in index["chunks"]}
        packed = {key: config.get(key) for key in ("compression", "encryption", "ipc_compression") if config.get(key)}
        loader = config.get("item_loader") or "PyTreeLoader"
        formats = [str(each).partition(":")[0] for each in config["data_format"]]
        names = list(leaves(json.loads(config["data_spec"])[1])) if config.get("data_spec") else []
        if len(names) != len(formats):
            names = [str(number) for number in range(len(formats))]
    except FileNotFoundError as error:
        raise ValueError(
            f"{name} is missing: LitData writes it last; restore it, or write the dataset again"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} is no index of LitData ({error!r}): write the dataset again") from error
    if packed or loader != "PyTreeLoader":
        said = ", ".join(f"{key} {value}" for key, value in packed.items()) or loader
        raise ValueError(f"{name} says {said}, which is not read: {PLAIN}")
    for chunk, (size, _) in chunks.items():
        if sizes.get(chunk, -1) != size:
            raise ValueError(
                f"{origin.path(chunk)} is missing or has not the {size} bytes that {INDEX} says: restore it"
            )
    return Fields(names, formats, {chunk: count for chunk, (_, count) in chunks.items()})


def leaves(spec: dict[str, Any], name: str = "") -> Iterator[str]:
    """The names of what a sample is made of, from PyTorch's description of it: keys, or places in a tuple."""
    children = spec["children_spec"]
    if spec["type"] is None:
        yield name or "0"
        return
    keys = json.loads(spec["context"]) if str(spec["type"]).endswith("ict") else range(len(children))
    for key, child in zip(keys, children, strict=True):
        yield from leaves(child, f"{name}.{key}" if name else str(key))


def list_file(
    origin: InputFolder, file: dict, fields: Sequence[str], reading: ReadOptions, made_of: dict[str, Fields]
) -> Samples:
    """The samples of a chunk (a row of `FILES`)."""
    name, base = origin.path(file["name"]), file["name"]
    names, formats, counts = made_of[base[: base.rindex("chunk-")]]
    if base not in counts:
        raise ValueError(f"{name} is in no {INDEX}: remove it, or name the folders that are meant")
    with origin.open(base, file["size"]) as opened:
        offsets = read_offsets(opened, file["size"], name)
        count = len(offsets) - 1
        if count != counts[base]:
            raise ValueError(f"{name} is damaged: {count} samples, and {counts[base]} by {INDEX}; get the file again")
        if offsets[-1] != file["size"]:
            return list_rows(opened, offsets, file, name, fields, reading)
        image = choose_image(names, formats, reading, name)
        label = choose_column([each for each in names if each != image], LABELS, reading.label, "label", name)
        check_there(fields, names, name, "field")
        starts, sizes = find_fields(opened, offsets, [None] * len(names), name)

        def values(wanted: str) -> np.ndarray | pa.Array:
            place = names.index(wanted)
            return read_values(opened, wanted, formats[place], starts[:, place], sizes[:, place], name)

        place = names.index(image)
        where = pa.repeat(base, count), starts[:, place], sizes[:, place]
        if formats[place] == "pil":
            where = pil_images(opened, *where[1:], name, base)
        return samples_of(where, values, label, fields, f"{name}: the field")


def list_rows(
    opened: Readable, offsets: np.ndarray, file: dict, name: str, fields: Sequence[str], reading: ReadOptions
) -> Samples:
    """The samples of a chunk that holds them as Arrow's rows behind an empty table of offsets (int64 [n + 1])."""
    end = file["size"] - len(ROWS) - 4
    tail = pread(opened, len(ROWS) + 4, end)
    start = end - int.from_bytes(tail[:4], "little")
    if tail[4:] != ROWS or start < offsets[-1]:
        raise ValueError(f"{name} has more behind its samples, and no table of Arrow: {PLAIN}")
    found = list_stream(opened, start, end, file["name"], name, fields, reading)
    if len(found.size) != len(offsets) - 1:
        raise ValueError(
            f"{name} is damaged: {len(offsets) - 1} samples and {len(found.size)} rows; get the file again"
        )
    return found


def choose_image(names: list[str], formats: list[str], reading: ReadOptions, name: str) -> str:
    """The field of images."""
    found = {field: form for field, form in zip(names, formats, strict=True) if form in (*FILES, "pil")}
    sure = [field for field, form in found.items() if form not in ("bytes", "file")] or list(found)
    if reading.image is None and len(sure) == 1:
        return sure[0]
    if reading.image is None or reading.image not in found:
        said = ", ".join(f"{field} ({form})" for field, form in zip(names, formats, strict=True))
        raise ValueError(
            f"{name} has the fields {said}: expected one of {', '.join((*FILES, 'pil'))}"
            + (f"; name the images, such as --image {next(iter(found))}" if found else f": {PLAIN}")
        )
    return reading.image


def read_values(
    file: Readable, field: str, form: str, starts: np.ndarray, sizes: np.ndarray, name: str
) -> np.ndarray | pa.Array:
    """The values of a field of numbers or text."""
    if form in NUMBERS:
        return read_numbers(file, starts, sizes, NUMBERS[form], name)
    if form in TEXT:
        return read_texts(file, starts, sizes, name)
    why = (
        "is pickled, and never read, as that could execute anything" if form == "pickle" else f"is of the format {form}"
    )
    raise ValueError(f"{name}: the field {field} {why}: write it as int(...), float(...) or str(...)")
