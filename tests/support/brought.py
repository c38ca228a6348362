"""What people bring, written in a moment: images in folders, tars and Parquet files by names and labels."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.sources.image_table import Source
from tests.support.pictures import encoded, picture

IMAGE = encoded(picture(0, 64, 64))
SUFFIXES = ("jpg", "jpeg", "jfif", "png")


def touch(folder: Path, names: Iterable[str]) -> Path:
    """Images `names`, or other files with a line of text, below `folder`."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(IMAGE if name.endswith(SUFFIXES) else b"text\n")
    return folder


def tar_of(path: Path, members: Mapping[str, str] | Sequence[str]) -> None:
    """A tar of members with their text; those with the suffix of an image are one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = members if isinstance(members, Mapping) else dict.fromkeys(members, "text")
    with tarfile.open(path, "w") as tar:
        for name, text in texts.items():
            data = IMAGE if name.endswith(SUFFIXES) else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def parquet(
    path: Path, labels: Sequence[Any], names: Sequence[str] = (), column: str = "label", **columns: Sequence[Any]
) -> None:
    """A Parquet file of one image a label, as Hugging Face's `datasets` (4.0) describes it where `names` are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": IMAGE, "path": None}] * len(labels), kind)
    table = pa.table({"image": images, column: labels, **columns})
    if names:
        described = {"info": {"features": {column: {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(described)})
    pq.write_table(table, path)


def classes_of(source: Source, split: str = "train") -> dict[str, str]:
    """The name of the class of each key."""
    table = source.splits[split]
    rows = zip(table["key"].to_pylist(), table["label"].to_pylist(), strict=True)
    return {key: source.classes[label].wnid for key, label in rows}
