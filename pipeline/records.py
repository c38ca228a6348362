"""What a finished shard leaves behind until the manifest is written: enough to build it, so that no work is redone.

A record is two files in `<split>/.records/`, and a third where the images are of one size; the JSON is written last
and its presence is the proof that the shard is complete. The folder goes when the manifest is there.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic import atomic, write_atomically
from pipeline.manifest import QUARANTINE_SCHEMA, Shard
from pipeline.moments import Moments, PixelSums

FOLDER = ".records"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard, as its writer knew it."""

    digest: str  # what the shard was made from; a record of something else does not count
    shard: Shard
    moments: Moments | None  # None where nobody looked at the pixels
    samples: pa.Table  # SAMPLES_SCHEMA
    quarantine: pa.Table  # QUARANTINE_SCHEMA
    pixel_sums: PixelSums


def save_record(split_dir: Path, record: ShardRecord) -> None:
    """Writes a record whose shard is complete and on disk."""
    folder = split_dir / FOLDER
    folder.mkdir(exist_ok=True)
    name = record.shard.name
    if record.pixel_sums.sums is not None:
        with atomic(folder / f"{name}.npy") as path, open(path, "wb") as file:
            np.save(file, record.pixel_sums.sums)
    with atomic(folder / f"{name}.parquet") as path:
        pq.write_table(record.samples, path)
    proof = {
        "digest": record.digest,
        "shard": asdict(record.shard),
        "moments": None if record.moments is None else record.moments.to_json(),
        "pixel_sums": record.pixel_sums.sums is not None,
        "mixed": record.pixel_sums.mixed,
        "quarantine": record.quarantine.to_pylist(),
    }
    write_atomically(folder / f"{name}.json", json.dumps(proof).encode())


def is_done(split_dir: Path, name: str, digest: str) -> bool:
    """Whether the shard `name` was completed from what `digest` stands for, and still has its size."""
    proof = split_dir / FOLDER / f"{name}.json"
    shard = split_dir / name
    if not proof.is_file() or not shard.is_file():
        return False
    record = json.loads(proof.read_bytes())
    return bool(record["digest"] == digest and record["shard"]["num_bytes"] == shard.stat().st_size)


def load_record(split_dir: Path, name: str) -> ShardRecord:
    """Reads the record of the shard `name`. Raises `FileNotFoundError` where the shard was not finished."""
    base = split_dir / FOLDER / name
    proof = json.loads(base.with_name(f"{name}.json").read_bytes())
    return ShardRecord(
        digest=proof["digest"],
        shard=Shard(**proof["shard"]),
        moments=None if proof["moments"] is None else Moments.from_json(proof["moments"]),
        samples=pq.read_table(base.with_name(f"{name}.parquet")),
        quarantine=pa.Table.from_pylist(proof["quarantine"], QUARANTINE_SCHEMA),
        pixel_sums=PixelSums(
            np.load(base.with_name(f"{name}.npy"), allow_pickle=False) if proof["pixel_sums"] else None, proof["mixed"]
        ),
    )


def remove_records(split_dir: Path) -> None:
    """Removes the records once a manifest has taken their place."""
    shutil.rmtree(split_dir / FOLDER, ignore_errors=True)
