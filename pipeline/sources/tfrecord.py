"""TFRecord files of tf.train.Example: `image/encoded` and `image/class/label`, or `image` and `label`, as TensorFlow's
own scripts and TFDS write them, or other features that are named.

Labels are one integer a record, or text. Class names are those of `classes.txt`, or of TFDS's `label.labels.txt`. A key
is the file and the number of the record.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.fields import check_there, widened
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.files.ranged import Readable
from imagefeed.pipeline.files.text import decode_text, escaped, lines_of
from imagefeed.pipeline.formats.tfrecord import (
    BYTES,
    FLOATS,
    INTEGERS,
    KINDS,
    Feature,
    Walk,
    find_features,
    find_records,
    floats,
    integers,
    names_of,
    one_value,
    texts,
)
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.records import LABELS, Samples, as_column, choose_column, open_records
from imagefeed.pipeline.sources.split_names import by_split

# A suffix, or the names that TensorFlow's script for ImageNet gives, which have none.
FILE = r"(?:.*/)?[^/]*(?:\.tfrecords?|\.tfrec)(?:[-.][^/]*)?|(?:.*/)?(?:train|validation|val|test)-[0-9]{5}-of-[0-9]{5}"
IMAGES = ("image/encoded", "image", "image_raw", "jpeg")
KNOWN = ("image/class/label", *LABELS)


def recognises(files: pa.Table) -> bool:
    """Whether there are files of such names."""
    return len(named(files, FILE)) > 0


def open_source(
    origin: InputFolder, files: pa.Table, fields: Sequence[str] = (), reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images, with the features `fields` behind those of `SCHEMA`.

    Raises `ValueError` for a file that is compressed or damaged, and where the features are not clear.
    """
    parts = by_split(named(files, FILE), origin.root)
    words: dict[str, Sequence[str]] = {
        name.removesuffix(".labels.txt").rpartition("/")[2]: [
            escaped(line) for line in lines_of(decode_text(origin.read(name), origin.path(name)).rstrip("\r\n"))
        ]
        for name in named(files, r"(?:.*/)?[^/]*\.labels\.txt")["name"].to_pylist()
    }
    return open_records(
        "tfrecord", origin, files, parts, lambda file: list_file(origin, file, fields, reading, words), reading
    )


def list_file(
    origin: InputFolder,
    file: dict,
    fields: Sequence[str],
    reading: ReadOptions,
    words: dict[str, Sequence[str]],
) -> Samples:
    """The records of a file (a row of `FILES`); `words` are the class names of features of labels."""
    name, base = origin.path(file["name"]), file["name"]
    starts, sizes, labels = [], [], []
    columns: dict[str, list[pa.Array]] = {field: [] for field in fields}
    image = label = ""
    with origin.open(base, file["size"]) as opened:
        for records in find_records(opened, file["size"], name):
            if not image:
                kinds = names_of(opened, records, name)
                image, label = columns_of(kinds, reading, name)
                check_there(fields, list(kinds), name, "feature")
            walk = Walk(opened, records, name)
            found = find_features(walk, records, [image, label, *fields])
            start, end = one_value(walk, found[image], BYTES, image)
            starts.append(start)
            sizes.append(end - start)
            values = values_of(walk, opened, found[label], kinds[label], label)
            labels.append(values)
            for field in fields:
                read = values_of(walk, opened, found[field], kinds[field], field)
                columns[field].append(widened(as_column(read), f"{name}: feature {field}"))
    none = np.zeros(0, np.int64)
    text = bool(labels) and isinstance(labels[0], pa.Array)
    size = np.concatenate([none, *sizes])
    return Samples(
        label=pa.concat_arrays(labels) if text else np.concatenate([none, *labels]),
        file=pa.repeat(base, len(size)),
        offset=np.concatenate([none, *starts]),
        size=size,
        words=words.get(label, ()) if not text else (),
        fields={field: pa.chunked_array(each, each[0].type if each else pa.null()) for field, each in columns.items()},
    )


def columns_of(kinds: dict[str, int], reading: ReadOptions, name: str) -> tuple[str, str]:
    """The features of images and of labels."""
    images = [each for each, kind in kinds.items() if kind == BYTES]
    labels = [each for each, kind in kinds.items() if kind in (BYTES, INTEGERS)]
    image = choose_column(images, IMAGES, reading.image, "image", name)
    return image, choose_column([each for each in labels if each != image], KNOWN, reading.label, "label", name)


def values_of(walk: Walk, file: Readable, feature: Feature, kind: int, what: str) -> np.ndarray | pa.Array:
    """The values of a feature of `kind`, as in the first record."""
    if kind not in KINDS:
        raise ValueError(f"{walk.name}: {what} has no value in the first record: leave it out")
    if kind == BYTES:
        return texts(walk, file, feature, what)
    return floats(walk, feature, what) if kind == FLOATS else integers(walk, feature, what)
