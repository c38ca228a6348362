"""A record read is the record that was written, and it counts for its own shard alone, once all of it is there."""

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from imagefeed.pipeline.convert.shard_record import ShardRecord, is_done, load_record, save_record
from imagefeed.pipeline.dataset.manifest import RECORDS, Shard
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums
from imagefeed.pipeline.dataset.tables import QUARANTINE_SCHEMA, SAMPLES_SCHEMA
from imagefeed.pipeline.files.output_folder import LocalOutput

NAME = "shard-00007.tar"


def moments(*values: int) -> Moments:
    """Of some pixels; sums beyond what a float holds stay exact."""
    return Moments(3, np.array([2**60 + 1, *values]), np.arange(9).reshape(3, 3) + 2**53 + 1)


def record(moments: Moments | None, pixel_sums: PixelSums, refused: int = 1) -> ShardRecord:
    sample = {name: number for number, name in enumerate(SAMPLES_SCHEMA.names)}
    image = {
        "id": 9,
        "key": "a/\u00e9",
        "label": 1,
        "file": "x.tar#raw/1x2",
        "offset": 2**40,
        "size": 3,
        "reason": 'a "b"',
    }
    return ShardRecord(
        digest="d",
        shard=Shard(name=NAME, num_samples=1, num_bytes=5, sha256="ab"),
        moments=moments,
        samples=pa.Table.from_pylist([sample | {"key": "k", "xxh3": 2**64 - 1}], SAMPLES_SCHEMA),
        quarantine=pa.Table.from_pylist([image] * refused, QUARANTINE_SCHEMA),
        pixel_sums=pixel_sums,
    )


@pytest.fixture
def folder(tmp_path: Path) -> LocalOutput:
    (tmp_path / NAME).write_bytes(b"shard")
    return LocalOutput(tmp_path)


@pytest.mark.parametrize(
    "written",
    [
        record(moments(5, 6), PixelSums(np.full((2, 1, 3), 2**32 - 1, np.uint32))),
        record(moments(5, 6), PixelSums(np.full((1, 1, 3), 2**40))),
        record(moments(5, 6), PixelSums(None, mixed=True), refused=0),
        record(None, PixelSums()),
    ],
    ids=["one size", "wide sums", "several sizes", "not decoded"],
)
def test_what_is_read_is_what_was_written(written: ShardRecord, folder: LocalOutput) -> None:
    save_record(folder, written)
    found = load_record(folder, NAME)
    assert (found.digest, found.shard) == (written.digest, written.shard)
    assert found.samples.equals(written.samples) and found.quarantine.equals(written.quarantine)
    assert found.quarantine.schema == QUARANTINE_SCHEMA
    assert (found.moments and found.moments.to_json()) == (written.moments and written.moments.to_json())
    assert found.pixel_sums.mixed == written.pixel_sums.mixed
    if written.pixel_sums.sums is None:
        assert found.pixel_sums.sums is None
    else:
        assert found.pixel_sums.sums is not None and found.pixel_sums.sums.dtype == written.pixel_sums.sums.dtype
        np.testing.assert_array_equal(found.pixel_sums.sums, written.pixel_sums.sums)


def test_a_shard_is_done_from_the_same_and_while_it_has_its_size(folder: LocalOutput) -> None:
    assert not is_done(folder, NAME, "d")
    save_record(folder, record(moments(5, 6), PixelSums()))
    assert is_done(folder, NAME, "d")
    assert not is_done(folder, NAME, "other") and not is_done(folder, "shard-00008.tar", "d")
    (folder.path / NAME).write_bytes(b"shar")
    assert not is_done(folder, NAME, "d")
    (folder.path / NAME).unlink()
    assert not is_done(folder, NAME, "d")


def test_the_proof_comes_last(folder: LocalOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file cannot be written, the shard is not done, and reading the record names what is missing."""
    written, new = record(moments(5, 6), PixelSums(np.zeros((1, 1, 3)))), LocalOutput.new
    for suffix in (".npy", ".parquet", ".json"):

        def fails(self: LocalOutput, name: str, suffix: str = suffix) -> AbstractContextManager[Path]:
            if name.endswith(suffix):
                raise ConnectionAbortedError
            return new(self, name)

        with monkeypatch.context() as patch:
            patch.setattr(LocalOutput, "new", fails)
            with pytest.raises(ConnectionAbortedError):
                save_record(folder, written)
        assert not is_done(folder, NAME, "d")
        with pytest.raises(FileNotFoundError, match=f"{RECORDS} has no {NAME}.json: run the conversion again"):
            load_record(folder, NAME)


def test_an_older_record_counts_no_longer_once_the_shard_is_made_anew(folder: LocalOutput) -> None:
    save_record(folder, record(moments(5, 6), PixelSums()))
    save_record(folder, replace(record(None, PixelSums()), digest="new"))
    assert is_done(folder, NAME, "new") and not is_done(folder, NAME, "d")
    assert json.loads((folder.path / RECORDS / f"{NAME}.json").read_text())["moments"] is None
