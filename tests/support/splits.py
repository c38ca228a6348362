"""Splits of any content, for what the conversion does not write: odd formats, many sizes, tables that know little."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.manifest import MEAN_IMAGE, SAMPLES, Class, Manifest, Shard
from imagefeed.pipeline.dataset.statistics import Moments, statistics
from imagefeed.pipeline.dataset.tables import SAMPLES_SCHEMA
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.image.stored import JPEG, Storage
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset


@dataclass(frozen=True)
class Payload:
    """One sample as it is stored."""

    data: bytes
    kind: int = JPEG
    height: int = 0  # pixels; 0: the table does not know
    width: int = 0
    label: int = 0
    hashed: bool = True


def write_split(folder: Path, payloads: Sequence[Payload], mean: np.ndarray | None = None) -> Dataset:
    """A training split of one file with the payloads one behind the other; statistics of some colours."""
    folder.mkdir(parents=True)
    shard = b"".join(each.data for each in payloads)
    (folder / "shard-00000.tar").write_bytes(shard)
    moments = Moments()
    moments.add(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8))
    ends = np.cumsum([len(each.data) for each in payloads]).tolist()
    rows = [
        {
            "id": i,
            "key": f"sample/{i}",
            "label": each.label,
            "shard": 0,
            "offset": end - len(each.data),
            "size": len(each.data),
            "height": each.height,
            "width": each.width,
            "kind": each.kind,
            "xxh3": xxh3_64(np.frombuffer(each.data, np.uint8)) if each.hashed else 0,
        }
        for i, (each, end) in enumerate(zip(payloads, ends, strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLES_SCHEMA), folder / SAMPLES)
    np.save(folder / MEAN_IMAGE, np.zeros((1, 1, 3)) if mean is None else mean)
    Manifest(
        split="train",
        format="tar",
        classes=tuple(Class(f"n{i:08d}", "") for i in range(1 + max(each.label for each in payloads))),
        num_samples=len(payloads),
        num_quarantined=0,
        storage=Storage(resize="none", size=0, encoding="jpeg", quality=None, codec="several"),
        shards=(
            Shard(
                name="shard-00000.tar",
                num_samples=len(payloads),
                num_bytes=len(shard),
                sha256=hashlib.sha256(shard).hexdigest(),
            ),
        ),
        statistics=statistics(moments),
        files={name: file_sha256(folder / name) for name in (SAMPLES, MEAN_IMAGE)},
        digest="0" * 64,
    ).save(folder)
    return open_dataset(folder)
