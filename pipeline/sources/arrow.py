"""Arrow as Hugging Face's `save_to_disk` writes it: a folder of streams with a column `image` of struct{bytes, path}.

A folder is one split; several of them beside each other, as of a `DatasetDict`, have the names of splits. `state.json`
says which files belong to it: others beside are results that `map` and `filter` have put there. Class names are those
of the files' own description, or of `dataset_info.json`.
"""

import json
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.fields import check_there, widened
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.files.ranged import Readable
from imagefeed.pipeline.formats.arrow_stream import Columns, Images, batches, read_schema
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.label_column import class_words, label_numbers
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.records import LABELS, Samples, choose_column, open_records, record_keys
from imagefeed.pipeline.sources.split_names import by_split

FILE = r".*\.arrow"
RESULT = re.compile(r"(?:cache-|tmp)[^/]*\.arrow")  # of `map` and `filter`
PATH = "\0path"  # a column of no dataset: the names of the image files
STATE, INFO = "state.json", "dataset_info.json"
EMBED = "embed the images: ds.map(lambda x: x, features=ds.features) with the files at hand, then save_to_disk again"


def recognises(files: pa.Table) -> bool:
    """Whether there are files of Arrow."""
    return len(named(files, FILE)) > 0


def open_source(
    origin: InputFolder, files: pa.Table, fields: Sequence[str] = (), reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images, with the columns `fields` behind those of `SCHEMA`.

    Raises `ValueError` for a file that is damaged or missing, or has other columns.
    """
    found = files_meant(origin, files)
    parts = by_split(found, origin.root)
    for split, table in parts.items():
        folders = sorted({folder_of(name) for name in table["name"].to_pylist()})
        if len(folders) > 1:
            raise ValueError(
                f"{origin.root} has several datasets for {split} ({', '.join(each or '.' for each in folders)}): name "
                "one of them"
            )
    infos = {folder_of(name) for name in named(files, f"(?:.*/)?{INFO}")["name"].to_pylist()}
    return open_records(
        "arrow", origin, files, parts, lambda file: list_file(origin, file, fields, reading, infos), reading
    )


def folder_of(name: str) -> str:
    """The folder of a file with its stroke, "" for the root."""
    return name[: len(name) - len(name.rpartition("/")[2])]


def files_meant(origin: InputFolder, files: pa.Table) -> pa.Table:
    """The files that each folder's `state.json` names; without it all that are no results of `map` or `filter`."""
    found = named(files, FILE)
    there = set(found["name"].to_pylist())
    wanted = {name for name in there if not RESULT.fullmatch(name.rpartition("/")[2])} or there
    for name in named(files, f"(?:.*/)?{STATE}")["name"].to_pylist():
        folder = folder_of(name)
        try:
            listed = [f"{folder}{each['filename']}" for each in json.loads(origin.read(name))["_data_files"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{origin.path(name)} names no files ({error!r}): write the dataset again") from error
        if missing := [each for each in listed if each not in there]:
            raise ValueError(f"{origin.path(missing[0])} is missing, which {STATE} names: restore it")
        wanted = {each for each in wanted if folder_of(each) != folder} | set(listed)
    return found.filter(pc.is_in(found["name"], value_set=pa.array(sorted(wanted), pa.string())))


def list_file(origin: InputFolder, file: dict, fields: Sequence[str], reading: ReadOptions, infos: set[str]) -> Samples:
    """The samples of a file (a row of `FILES`); `infos` are the folders that have a `dataset_info.json`."""
    with origin.open(file["name"], file["size"]) as opened:
        listed = list_stream(opened, 0, file["size"], file["name"], origin.path(file["name"]), fields, reading)
    folder = folder_of(file["name"])
    if listed.words or folder not in infos:
        return listed
    info = b'{"info": %s}' % origin.read(folder + INFO)
    return listed._replace(words=class_words({b"huggingface": info}, listed.label_column))


def list_stream(
    opened: Readable, start: int, stop: int, base: str, name: str, fields: Sequence[str], reading: ReadOptions
) -> Samples:
    """The samples of a stream of record batches between two places of a file, `base` in the source, `name` in messages.

    Raises `ValueError` where it is damaged, or has other columns.
    """
    try:
        schema, at = read_schema(opened, start, stop)
        image, label = columns_of(schema, reading, name)
        check_there(fields, schema.names, name, "column")
        wanted = {label, *fields}
        listed = [take(Columns(opened, each), schema, image, wanted) for each in batches(opened, at, stop)]
    except (pa.ArrowException, ValueError, IndexError, OverflowError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name} cannot be read as Arrow with images ({error})") from error
    offsets, sizes, columns = zip(*listed, strict=True) if listed else ((), (), ())
    none = np.zeros(0, np.int64)
    size = np.concatenate([none, *sizes])
    if (size < 0).any():
        raise ValueError(
            f"{name}: row {int((size < 0).argmax())} of {image} holds a path and no bytes, or null: {EMBED}"
        )
    table = pa.concat_tables(columns) if columns else schema.empty_table()
    labels = table[label]
    text = pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type)
    return Samples(
        label=labels.cast(pa.string()).combine_chunks()
        if text
        else label_numbers(labels, name, record_keys(base, len(size))),
        file=pa.repeat(base, len(size)),
        offset=np.concatenate([none, *offsets]),
        size=size,
        path=table[PATH].combine_chunks() if PATH in table.column_names else None,
        words=class_words(schema.metadata or {}, label),
        fields={each: widened(table[each], f"{name}: column {each}") for each in fields},
        label_column=label,
    )


def take(columns: Columns, schema: pa.Schema, image: str, wanted: set[str]) -> tuple[np.ndarray, np.ndarray, pa.Table]:
    """Where the images of a batch are (int64 [n] each: offset, size), and its columns `wanted` with `PATH`."""
    found: Images | None = None
    read: dict[str, pa.Array] = {}
    paths: dict[str, pa.Array] = {}
    for each in schema:
        if each.name == image:
            found, paths = columns.images(each.type)
        elif each.name in wanted:
            read[each.name] = columns.array(each.type)
        else:
            columns.skip(each.type)
    assert found is not None
    if "path" in paths:
        read[PATH] = paths["path"].cast(pa.string())
    if any(len(each) != len(found.size) for each in read.values()):
        raise ValueError("it is damaged: columns of a batch have other lengths; get the file again")
    return found.offset, found.size, pa.table(read)


def columns_of(schema: pa.Schema, reading: ReadOptions, name: str) -> tuple[str, str]:
    """The columns of images and of labels."""
    images = [each.name for each in schema if holds_bytes(each.type)]
    structs = [each for each in images if pa.types.is_struct(schema.field(each).type)]
    if reading.image is None and len(structs or images) != 1:
        raise ValueError(
            f"{name} has the columns {', '.join(schema.names)}: expected one of struct{{bytes, path}} and a label"
            + (f"; name the images, such as --image {images[0]}" if images else "")
        )
    image = choose_column(images, structs or images, reading.image, "image", name)
    others = [each for each in schema.names if each != image]
    return image, choose_column(others, LABELS, reading.label, "label", name)


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, or structs with a member `bytes`."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
