"""Parquet as Hugging Face has it: a column `image` of struct{bytes, path} and a column `label`, in one file or many.

Listed are paths, labels and the headers of pages; a row's address is the page that holds its image, and its place in it
(`formats/parquet.py`). A key is the name in `path` without its suffix, where all images of a split have different ones,
else the file and the row. Classes have the WordNet ids that the keys begin with, where they do, and the words that
Hugging Face's own description of the file gives.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.fields import check_there, joined, widened
from imagefeed.pipeline.dataset.manifest import MANIFEST, Class
from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, named
from imagefeed.pipeline.formats.listing import check_labels
from imagefeed.pipeline.formats.parquet_pages import HEADER, Seekable, find_values
from imagefeed.pipeline.sources.class_names import read_names
from imagefeed.pipeline.sources.class_order import BY_FILE
from imagefeed.pipeline.sources.image_table import BY_NUMBER, Source, by_key, key_of, last_part, rows
from imagefeed.pipeline.sources.split_names import by_split

WNID = r"^(?P<wnid>n[0-9]{8})_"


def recognises(files: pa.Table) -> bool:
    """Whether there are Parquet files which are not the tables of a dataset of ours."""
    return len(named(files, r".*\.parquet")) > 0 and not len(named(files, f"(?:.*/)?{MANIFEST}"))


def open_source(origin: InputFolder, files: pa.Table, fields: Sequence[str] = ()) -> Source:
    """Lists the images, with the columns `fields` behind those of `SCHEMA`.

    Raises `ValueError` for a file that is damaged, or has other columns.
    """
    parts = by_split(named(files, r".*\.parquet"), origin.root)
    splits, words = {}, []
    for split, found in parts.items():
        with ThreadPoolExecutor(REQUESTS) as pool:
            listed = list(pool.map(lambda file: list_file(origin, file, fields), found.to_pylist()))
        table = joined([each for each, _ in listed], origin.root)
        words += [each for _, each in listed if each]
        paths = key_of(last_part(table["path"]))
        if not paths.null_count and len(pc.unique(paths)) == len(paths):
            table = table.set_column(0, "key", paths)
        splits[split] = by_key(table.drop_columns("path"), origin.root)
    number = 1 + max(int(pc.max(table["label"]).as_py()) for table in splits.values())
    given = read_names(origin, files)
    names = given or name_classes(list(splits.values()), words[0] if words else [], number)
    if number > len(names):
        raise ValueError(f"{origin.root} has the label {number - 1}, and {len(names)} classes have names")
    rule = BY_FILE if given else BY_NUMBER
    return Source(kind="parquet", root=origin.root, classes=names, splits=splits, rule=rule)


def list_file(origin: InputFolder, file: dict, fields: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """The images of a file (a row of `FILES`) as `image_table.SCHEMA`, `path` and `fields`; the classes' words."""
    name = origin.path(file["name"])
    try:
        with origin.open(file["name"], file["size"], HEADER) as opened:
            reader = pq.ParquetFile(Seekable(opened, file["size"]))
            images = [number for number, path in enumerate(leaves(reader)) if path.endswith(".bytes")]
            labels = {"label", "cls"} & set(leaves(reader))
            if len(images) != 1 or len(labels) != 1:
                raise ValueError(
                    f"its columns are {', '.join(leaves(reader))}: expected one of struct{{bytes, path}} and a label"
                )
            check_there(fields, reader.schema_arrow.names, name, "column")
            pages = find_values(opened, reader.metadata, images[0], name)
            path, (label,) = leaves(reader)[images[0]].removesuffix("bytes") + "path", labels
            table = reader.read(columns=[label, *({path} & set(leaves(reader))), *fields])
    except (pa.ArrowException, ValueError, OverflowError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name} cannot be read as Parquet with images ({error})") from error
    count = len(table)
    stem = file["name"].removesuffix(".parquet")
    key = pa.array([f"{stem}/{row:08d}" for row in range(count)], pa.string())
    numbers = label_numbers(table[label], name, key)
    check_labels(numbers, name, key)
    places = pc.cast(pa.array(pages.place), pa.string())
    address = pc.binary_join_element_wise(f"{file['name']}#{pages.codec.name}/{pages.codec.levels}/", places, "")
    listed = rows(
        key=key,
        label=numbers,
        file=address,
        offset=pages.offset,
        size=pages.size,
        stamp=np.full(count, file["stamp"]),
    )
    column = path.partition(".")[0]
    names = pc.struct_field(table[column], "path") if column in table.column_names else pa.nulls(count, pa.string())
    listed = listed.append_column("path", names.cast(pa.string()))
    for field in fields:
        listed = listed.append_column(field, widened(table[field], f"{name}: column {field}"))
    return listed, class_words(reader.schema_arrow.metadata or {}, label)


def label_numbers(column: pa.ChunkedArray, name: str, keys: pa.Array) -> np.ndarray:
    """The labels (int64 [n]) of the samples `keys`. Raises `ValueError` where one is missing, or no whole number."""
    try:
        numbers = column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: labels are numbers from 0 on, and one is something else ({error})") from error
    if numbers.null_count:
        row = pc.index(numbers.is_null(), True).as_py()
        raise ValueError(f"{name}: sample {keys[row]} has no label: leave out what has none")
    return numbers.to_numpy()


def leaves(reader: pq.ParquetFile) -> list[str]:
    """The paths of all columns, `image.bytes` for a part of a struct."""
    return [reader.metadata.schema.column(number).path for number in range(reader.metadata.num_columns)]


def class_words(metadata: dict[bytes, bytes], label: str) -> list[str]:
    """The names of the classes in Hugging Face's description of a file; none where there is no such thing."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def name_classes(tables: list[pa.Table], words: list[str], number: int) -> tuple[Class, ...]:
    """As many classes as there are labels or words, called by the WordNet ids in the keys if each has just one."""
    count = max(number, len(words))
    wnids = [str(label) for label in range(count)]
    for table in tables:
        found = pc.struct_field(pc.extract_regex(table["key"], WNID), "wnid")
        if found.null_count:
            continue
        pairs = pa.table({"label": table["label"], "wnid": found}).group_by(["label", "wnid"]).aggregate([])
        if len(pairs) == len(pc.unique(pairs["label"])) == len(pc.unique(pairs["wnid"])) == count:
            wnids = pairs.sort_by("label")["wnid"].to_pylist()
            break
    return tuple(Class(wnid, words[label] if label < len(words) else wnid) for label, wnid in enumerate(wnids))
