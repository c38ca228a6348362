"""What a finished shard leaves behind until the manifest is written: enough to build it, so that no work is redone.

A record is two files in `<split>/.records/`, and a third where the images are of one size; the JSON is written last
and its presence is the proof that the shard is complete. The folder goes when the manifest is there.
"""

import io
import json
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.manifest import RECORDS, Shard
from imagefeed.pipeline.dataset.publish import write_array
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums
from imagefeed.pipeline.dataset.tables import QUARANTINE_SCHEMA
from imagefeed.pipeline.files.output_folder import OutputFolder


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard, as its writer knew it."""

    digest: str  # what the shard was made from; a record of something else does not count
    shard: Shard
    moments: Moments | None  # None where nobody looked at the pixels
    samples: pa.Table  # SAMPLES_SCHEMA
    quarantine: pa.Table  # QUARANTINE_SCHEMA
    pixel_sums: PixelSums


def save_record(split: OutputFolder, record: ShardRecord) -> None:
    """Writes a record whose shard is complete and in its folder."""
    folder, name = split.below(RECORDS), record.shard.name
    if record.pixel_sums.sums is not None:
        with folder.new(f"{name}.npy") as path:
            write_array(record.pixel_sums.sums, path)
    with folder.new(f"{name}.parquet") as path:
        pq.write_table(record.samples, path)
    proof = {
        "digest": record.digest,
        "shard": asdict(record.shard),
        "moments": None if record.moments is None else record.moments.to_json(),
        "pixel_sums": record.pixel_sums.sums is not None,
        "mixed": record.pixel_sums.mixed,
        "quarantine": record.quarantine.to_pylist(),
    }
    with folder.new(f"{name}.json") as path:
        path.write_text(json.dumps(proof))


def is_done(split: OutputFolder, name: str, digest: str) -> bool:
    """Whether the shard `name` was completed from what `digest` stands for, and still has its size."""
    proof = split.below(RECORDS).read(f"{name}.json")
    if proof is None:
        return False
    record = json.loads(proof)
    return bool(record["digest"] == digest and record["shard"]["num_bytes"] == split.size(name))


def load_record(split: OutputFolder, name: str) -> ShardRecord:
    """Reads the record of the shard `name`. Raises `FileNotFoundError` where the shard was not finished."""
    folder = split.below(RECORDS)

    def content(suffix: str) -> bytes:
        found = folder.read(name + suffix)
        if found is None:
            raise FileNotFoundError(f"{folder} has no {name + suffix}: run the conversion again")
        return found

    proof = json.loads(content(".json"))
    return ShardRecord(
        digest=proof["digest"],
        shard=Shard(**proof["shard"]),
        moments=None if proof["moments"] is None else Moments.from_json(proof["moments"]),
        samples=pq.read_table(io.BytesIO(content(".parquet"))),
        quarantine=pa.Table.from_pylist(proof["quarantine"], QUARANTINE_SCHEMA),
        pixel_sums=PixelSums(
            np.load(io.BytesIO(content(".npy")), allow_pickle=False) if proof["pixel_sums"] else None, proof["mixed"]
        ),
    )
