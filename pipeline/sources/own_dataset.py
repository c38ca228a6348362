"""A dataset of ours, tar or beton: `train/manifest.json` and so on, or one split. Keys and classes are its own."""

import io
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.fields import check_there
from imagefeed.pipeline.dataset.manifest import MANIFEST, SAMPLES, Manifest
from imagefeed.pipeline.dataset.tables import schema_of
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.sources.class_order import BY_DATASET, NATURAL
from imagefeed.pipeline.sources.foreign_shards import addresses
from imagefeed.pipeline.sources.image_table import Source, by_key, rows


def recognises(files: pa.Table) -> bool:
    """Whether there is a manifest, at most two folders down."""
    return len(named(files, f"(?:[^/]+/){{0,2}}{MANIFEST}")) > 0


def open_source(origin: InputFolder, files: pa.Table, fields: Sequence[str] = ()) -> Source:
    """Lists the images, with `fields` of the dataset behind the columns of `SCHEMA`.

    Raises `ValueError` where shards are missing or altered, or where both formats are there.
    """
    folders = [str(PurePosixPath(name).parent) for name in named(files, f"(?:.*/)?{MANIFEST}")["name"].to_pylist()]
    if len({str(PurePosixPath(folder).parent) for folder in folders}) > 1:
        raise ValueError(f"{origin.root} holds several datasets ({', '.join(folders)}): name one of them")
    splits, classes, natural = {}, set(), False
    for folder in folders:
        prefix = "" if folder == "." else f"{folder}/"
        manifest = Manifest.parse(origin.read(prefix + MANIFEST), origin.path(prefix + MANIFEST))
        splits[manifest.split] = by_key(images(origin, files, prefix, manifest, fields), origin.path(folder))
        classes.add(manifest.classes)
        natural = manifest.class_order == "natural"
    if len(classes) > 1 or len(splits) < len(folders):
        raise ValueError(f"{origin.root}: the splits {', '.join(folders)} are not of one dataset: name one of them")
    rule = NATURAL if natural else BY_DATASET
    prefixes = tuple("" if folder == "." else f"{folder}/" for folder in folders)
    used = tuple(name for name in files["name"].to_pylist() if name.startswith(prefixes))
    return Source(kind="imagefeed", root=origin.root, classes=classes.pop(), splits=splits, rule=rule, used=used)


def images(origin: InputFolder, files: pa.Table, prefix: str, manifest: Manifest, fields: Sequence[str]) -> pa.Table:
    """The samples of a split as rows."""
    check_there(fields, sorted(manifest.fields), origin.path(prefix).rstrip("/"), "field")
    there = {row["name"]: row for row in files.filter(pc.starts_with(files["name"], prefix)).to_pylist()}
    for shard in manifest.shards:
        if there.get(prefix + shard.name, {"size": -1})["size"] != shard.num_bytes:
            raise ValueError(
                f"{origin.path(prefix + shard.name)} is missing or has not its {shard.num_bytes} bytes: restore it"
            )
    schema = schema_of({name: manifest.fields[name] for name in fields})
    try:
        samples = pq.read_table(io.BytesIO(origin.read(prefix + SAMPLES)), schema=schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{origin.path(prefix + SAMPLES)} cannot be read ({error}): restore it") from error
    tables = []
    for number, shard in enumerate(manifest.shards):
        found = samples.filter(pc.equal(samples["shard"], number))
        kind, height, width = (found[name].to_numpy() for name in ("kind", "height", "width"))
        name = prefix + shard.name
        listed = rows(
            key=found["key"],
            label=found["label"].to_numpy(),
            file=addresses(name, kind, height, width),
            offset=found["offset"].to_numpy(),
            size=found["size"].to_numpy(),
            stamp=np.full(len(found), there[name]["stamp"]),
        )
        for field in fields:
            listed = listed.append_column(field, found[field])
        tables.append(listed)
    return pa.concat_tables(tables)
