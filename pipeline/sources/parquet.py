"""Parquet as Hugging Face has it: a column `image` of struct{bytes, path} and a column `label`, in one file or many.

Listed are paths, labels and the headers of pages; a row's address is the page that holds its image, and its place in it
(`formats/parquet_pages.py`). Where a file has the paths of images and not their bytes, the images are those files. A
key is the name in `path` without its suffix, where all images of a split have different ones, else the file and row.

Labels are numbers or text. Numbers that a file's own description names (Hugging Face's ClassLabel) go by these names:
files may number them differently. Else classes have the WordNet ids that the keys begin with, where they do.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.classes import CLASSES, NAME_FILES
from imagefeed.pipeline.dataset.fields import check_there, joined, widened
from imagefeed.pipeline.dataset.manifest import MANIFEST, Class
from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, named
from imagefeed.pipeline.files.ranged import Readable
from imagefeed.pipeline.formats.left_out import LeftOut
from imagefeed.pipeline.formats.listing import check_labels
from imagefeed.pipeline.formats.parquet_pages import HEADER, Seekable, find_values
from imagefeed.pipeline.sources.class_names import name_classes, read_names
from imagefeed.pipeline.sources.class_order import BY_FILE
from imagefeed.pipeline.sources.image_table import BY_NAME, BY_NUMBER, Source, by_key, key_of, last_part, rows
from imagefeed.pipeline.sources.label_column import class_words, label_numbers, label_words
from imagefeed.pipeline.sources.list_table import LABELS, one_column
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.split_names import NO_LABELS, NOT_ASKED, by_split, chosen

EMBED = (
    "put the images into the files, ds.with_format('arrow').map(datasets.table.embed_table_storage, batched=True) "
    "before to_parquet, or restore the images where the paths lead"
)


class Listed(NamedTuple):
    """What a file holds."""

    name: str  # of the file
    table: pa.Table  # `image_table.SCHEMA`, `path` and fields; labels as numbers of the file, or of `words`
    words: tuple[str, ...]  # the names of its classes; none where its labels are numbers alone
    text: bool  # whether the labels are text


def recognises(files: pa.Table) -> bool:
    """Whether there are Parquet files which are not the tables of a dataset of ours, or of a download of tars."""
    return len(listed_files(files)) > 0 and not len(named(files, f"(?:.*/)?{MANIFEST}"))


def listed_files(files: pa.Table) -> pa.Table:
    """The Parquet files without those that only tell of the tar of the same name, as img2dataset writes them."""
    found = named(files, r".*\.parquet")
    stems = set(files["name"].filter(pc.ends_with(files["name"], "_stats.json")).to_pylist())
    stems = {name.removesuffix("_stats.json") for name in stems}
    stems &= {name.removesuffix(".tar") for name in named(files, r".*\.tar")["name"].to_pylist()}
    told = pa.array([f"{stem}.parquet" for stem in stems], pa.string())
    return found.filter(pc.invert(pc.is_in(found["name"], value_set=told)))


def open_source(
    origin: InputFolder, files: pa.Table, fields: Sequence[str] = (), reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images, with the columns `fields` behind those of `SCHEMA`.

    Raises `ValueError` for a file that is damaged, or has other columns.
    """
    there = by_split(listed_files(files), origin.root)
    parts = chosen(there, reading.splits, origin.root)
    left = {split: NOT_ASKED for split in there if split not in parts}
    given = read_names(origin, files)
    listed: dict[str, list[Listed]] = {}
    for split, found in parts.items():
        with ThreadPoolExecutor(REQUESTS) as pool:
            of_split = list(pool.map(lambda file: list_file(origin, file, fields, reading), found.to_pylist()))
        if split == "test" and len(parts) > 1 and all(map(without_labels, of_split)):
            left[split] = NO_LABELS
        else:
            listed[split] = of_split
    every = [each for split in listed.values() for each in split]
    for each in every:
        check_labels(each.table["label"].to_numpy(), origin.path(each.name), each.table["key"])
    words, notes = joined_words(every, origin.root)
    splits = {}
    for split, of_split in listed.items():
        table = joined([with_numbers(each, words) for each in of_split], origin.root)
        paths = key_of(last_part(table["path"]))
        if not paths.null_count and len(pc.unique(paths)) == len(paths):
            table = table.set_column(0, "key", paths)
        splits[split] = by_key(table.drop_columns("path"), origin.root)
    number = 1 + max(int(pc.max(table["label"]).as_py()) for table in splits.values())
    text = any(each.text for each in every)
    if text and given:
        splits, names = by_given(splits, words, given, origin.root), given
    else:
        names = given or (
            tuple(Class(word, word) for word in words) if text else name_classes(list(splits.values()), words, number)
        )
        if number > len(names):
            raise ValueError(f"{origin.root} has the label {number - 1}, and {len(names)} classes have names")
    return Source(
        kind="parquet",
        root=origin.root,
        classes=names,
        splits=splits,
        rule=BY_FILE if given else BY_NAME if text else BY_NUMBER,
        notes=tuple(notes),
        used=(*(name for found in there.values() for name in found["name"].to_pylist()), *NAME_FILES),
        left_out=LeftOut(splits=left),
    )


def without_labels(listed: Listed) -> bool:
    """Whether all of a file's labels are -1, or none is there."""
    return bool((listed.table["label"].to_numpy() == -1).all())


def joined_words(listed: list[Listed], where: str) -> tuple[list[str], list[str]]:
    """The names of the classes over all files, in the order of the first that has any, or sorted where the labels are
    text; and what is to be said of files that have others.

    Raises `ValueError` where some files have text and others numbers, or names differ and a file has none.
    """
    listed = [each for each in listed if len(each.table)]
    with_words = [each for each in listed if each.words]
    if len({each.text for each in listed}) > 1:
        one, other = (next(each for each in listed if each.text is kind) for kind in (True, False))
        raise ValueError(f"{where}: the labels of {one.name} are text and those of {other.name} numbers: convert apart")
    if not with_words:
        return [], []
    if with_words[0].text:
        return sorted({word for each in listed for word in each.words}), []
    first = with_words[0]
    words = list(dict.fromkeys(word for each in with_words for word in each.words))
    others = [each for each in with_words if each.words != first.words]
    bare = [each for each in listed if not each.words]
    if others and bare:
        raise ValueError(
            f"{where}: {first.name} and {others[0].name} name their classes in different ways, and {bare[0].name} does "
            "not name them: convert them apart"
        )
    notes = []
    if others:
        also = f" and {len(others) - 1} more" * (len(others) > 1)
        notes.append(f"{others[0].name}{also} numbers its classes otherwise than {first.name}: labels go by the names")
    if bare:
        notes.append(f"{bare[0].name} names no classes: its labels are taken as those of {first.name}")
    return words, notes


def with_numbers(listed: Listed, words: list[str]) -> pa.Table:
    """A file's table with its labels as places in `words`."""
    place = {word: label for label, word in enumerate(words)}
    of_file = np.array([place[word] for word in listed.words], np.int64)
    if not listed.words or (of_file == np.arange(len(of_file))).all():
        return listed.table
    labels = listed.table["label"].to_numpy()
    if len(labels) and labels.max() >= len(of_file):
        raise ValueError(f"{listed.name} has the label {labels.max()}, and names {len(of_file)} classes")
    column = listed.table.schema.get_field_index("label")
    field = listed.table.schema.field(column)
    return listed.table.set_column(column, field, pa.array(of_file[labels].astype(np.int32)))


def by_given(
    splits: dict[str, pa.Table], words: list[str], given: tuple[Class, ...], where: str
) -> dict[str, pa.Table]:
    """Splits whose labels are places in `words`, as places in the classes that a file names."""
    place = {each.wnid: label for label, each in enumerate(given)}
    if unknown := [word for word in words if word not in place]:
        raise ValueError(f"{where} has the class {unknown[0]}, which {CLASSES} does not name")
    of_word = np.array([place[word] for word in words], np.int32)
    return {
        split: table.set_column(
            table.schema.get_field_index("label"),
            table.schema.field("label"),
            pa.array(of_word[table["label"].to_numpy()]),
        )
        for split, table in splits.items()
    }


def list_file(origin: InputFolder, file: dict, fields: Sequence[str], reading: ReadOptions) -> Listed:
    """The images of a file (a row of `FILES`)."""
    name = origin.path(file["name"])
    try:
        with origin.open(file["name"], file["size"], HEADER) as opened:
            return list_opened(origin, file, opened, fields, reading)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name} cannot be read as Parquet with images ({error})") from error


def list_opened(
    origin: InputFolder, file: dict, opened: Readable, fields: Sequence[str], reading: ReadOptions
) -> Listed:
    """See `list_file`."""
    name = origin.path(file["name"])
    reader = pq.ParquetFile(Seekable(opened, file["size"]))
    there = reader.schema_arrow.names
    image, leaf = image_column(reader, reading.image, name)
    label = label_column([each for each in there if each != image], reading.label, file["name"], name)
    check_there(fields, there, name, "column")
    path = f"{image}.path" if leaf.endswith(".bytes") else ""
    table = reader.read(columns=[*([label] if label else []), *({path} & set(leaves(reader))), *fields])
    count = reader.metadata.num_rows
    stem = file["name"].removesuffix(".parquet")
    key = pa.array([f"{stem}/{row:08d}" for row in range(count)], pa.string())
    words = class_words(reader.schema_arrow.metadata or {}, label) if label else []
    numbers = np.full(count, -1)
    texts = label_words(table[label], name, key) if label and count else None
    if texts is not None:
        numbers, words = texts
    elif label:
        numbers = label_numbers(table[label], name, key)
        if reading.first_label and not words:
            if (numbers == 0).any():
                raise ValueError(f"{name} has the label 0: its labels are not counted from 1; leave out --first-label")
            numbers = np.where(numbers < 0, numbers, numbers - reading.first_label)
    paths = pc.struct_field(table[image], "path") if image in table.column_names else pa.nulls(count, pa.string())
    paths = paths.cast(pa.string())
    column = leaves(reader).index(leaf)
    if count and null_count(reader.metadata, column) == count:
        listed = of_paths(origin, name, image, key, numbers, paths)
    else:
        pages = find_values(opened, reader.metadata, column, name)
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
    listed = listed.append_column("path", paths)
    for field in fields:
        listed = listed.append_column(field, widened(table[field], f"{name}: column {field}"))
    return Listed(file["name"], listed, tuple(words), texts is not None)


def image_column(reader: pq.ParquetFile, wanted: str | None, name: str) -> tuple[str, str]:
    """The column of images, and the path of the leaf that has their bytes, `image.bytes`, or the column itself.

    Raises `ValueError` where it is not there, or several may be meant.
    """
    schema = reader.schema_arrow
    found = {
        each.name: f"{each.name}.bytes" if pa.types.is_struct(each.type) else each.name
        for each in schema
        if is_bytes(each.type)
        or (
            pa.types.is_struct(each.type)
            and each.type.get_field_index("bytes") >= 0
            and is_bytes(each.type["bytes"].type)
        )
    }
    if wanted is not None:
        check_there((wanted,), list(found), name, "column of images")
        return wanted, found[wanted]
    structs = [column for column, leaf in found.items() if leaf.endswith(".bytes")]
    several = structs or list(found)
    if len(several) != 1:
        cure = f"; name one of them, --image {several[0]}" if several else ""
        raise ValueError(
            f"{name}: its columns are {', '.join(schema.names)}: expected one of struct{{bytes, path}}, or of bytes, "
            f"and a label{cure}"
        )
    return several[0], found[several[0]]


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes of any length."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def label_column(there: list[str], wanted: str | None, file: str, name: str) -> str | None:
    """The column of labels; None where a test split has none. Raises `ValueError` where several may be meant."""
    if wanted is None and not any(each.lower() in LABELS for each in there) and set(by_name(file)) == {"test"}:
        return None
    first = ("label", "cls") if not {"label", "cls"} <= set(there) else ()
    return one_column(there, LABELS, wanted, "--label", name, first)


def by_name(file: str) -> list[str]:
    """The split that a file's name says."""
    return list(by_split(pa.table({"name": [file]}), ""))


def null_count(meta: pq.FileMetaData, column: int) -> int:
    """How many values of a column are null, as the writer says; where it does not, none."""
    found = (meta.row_group(group).column(column).statistics for group in range(meta.num_row_groups))
    return sum(each.null_count or 0 for each in found if each is not None)


def of_paths(
    origin: InputFolder, name: str, image: str, keys: pa.Array, labels: np.ndarray, paths: pa.ChunkedArray
) -> pa.Table:
    """Rows for images that are files of their own, at `paths` (text [n]), absolute or from the source's folder.

    Raises `ValueError` with the first that is not there, and how the images come into the Parquet file.
    """
    found = []
    for row, path in enumerate(paths.to_pylist()):
        try:
            if path is None:
                raise FileNotFoundError
            found.append(origin.found(path))
        except FileNotFoundError as error:
            raise ValueError(
                f"{name}: its column {image} has the paths of images and not their bytes, and row {row}, {path}, leads "
                f"to no file: {EMBED}"
            ) from error
    return rows(
        key=keys,
        label=labels,
        file=pa.array([each.name for each in found], pa.string()),
        offset=np.zeros(len(found), np.int64),
        size=np.array([each.size for each in found], np.int64),
        stamp=np.array([each.stamp for each in found], np.int64),
    )


def leaves(reader: pq.ParquetFile) -> list[str]:
    """The paths of all columns, `image.bytes` for a part of a struct."""
    return [reader.metadata.schema.column(number).path for number in range(reader.metadata.num_columns)]
