"""A sound dataset has no fault; each kind of damage is found, with the shard and the sample."""

import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imagefeed.pipeline.checks.statistics import recompute
from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import MEAN_IMAGE, QUARANTINE, SAMPLES, Manifest
from imagefeed.pipeline.dataset.tables import read_samples
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.runtime.executors import processes


@pytest.fixture(params=["tar", "beton"])
def split(request: pytest.FixtureRequest, shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards / request.param / "train", tmp_path / "train")
    return tmp_path / "train"


def test_sound_datasets_have_no_fault(shards: Path) -> None:
    for folder in (shards / "tar" / "train", shards / "beton" / "val"):
        assert verify(open_dataset(folder), run=processes(1)) == []
        assert verify(open_dataset(folder), quick=True) == []
        assert recompute(open_dataset(folder)) == []


def test_raw_pixels_and_copied_files_are_verified_too(images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path / "raw", ConvertOptions(format="beton", raw=True, limit=6))
    convert(images, tmp_path / "files", ConvertOptions(resize="none", statistics=True))
    for name in ("raw", "files"):
        assert verify(open_dataset(tmp_path / name / "val")) == []


def test_an_altered_payload_is_found_by_a_full_check_alone(split: Path) -> None:
    row = read_samples(split).to_pylist()[5]
    shard = split / Manifest.load(split).shards[row["shard"]].name
    data = bytearray(shard.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 1
    shard.write_bytes(data)
    assert verify(open_dataset(split), quick=True) == []
    by_hash, by_sample = verify(open_dataset(split))
    assert by_hash.startswith(f"{shard} is not the file that was written")
    assert by_sample == f"{shard}: sample {row['id']} ({row['key']}): its bytes are not those that were written"
    assert recompute(open_dataset(split)) == [by_sample]


def test_a_shard_in_anothers_place_is_found_by_its_headers(images: Path, tmp_path: Path) -> None:
    """Shards of one size: raw pixels, of classes in turn."""
    split = tmp_path / "train"
    convert(images, tmp_path, ConvertOptions(format="beton", raw=True, shard_size=9, limit=27))
    first, second = (split / shard.name for shard in Manifest.load(split).shards[:2])
    assert first.stat().st_size == second.stat().st_size
    shutil.copyfile(second, first)
    (fault,) = verify(open_dataset(split), quick=True)
    assert fault.startswith(f"{first}: sample ") and "the table says" in fault


def test_a_damaged_header_is_found_by_a_quick_check(shards: Path, tmp_path: Path) -> None:
    split = tmp_path / "train"
    shutil.copytree(shards / "tar" / "train", split)
    shard = split / "shard-00001.tar"
    shard.write_bytes(shard.read_bytes().replace(b".jpg", b".jpq", 1))
    (fault,) = verify(open_dataset(split), quick=True)
    assert fault == f"{shard} is damaged: no tar header at byte 0; get the file again"


@pytest.mark.parametrize("name", [SAMPLES, QUARANTINE, MEAN_IMAGE])
def test_an_altered_table_is_found(name: str, split: Path) -> None:
    if name == SAMPLES:
        pq.write_table(read_samples(split), split / SAMPLES, compression="none")
    else:
        (split / name).write_bytes((split / name).read_bytes() + b" ")
    expected = [f"{split / name} was altered after it was written"]
    assert verify(open_dataset(split), quick=True) == verify(open_dataset(split)) == expected


def test_counts_that_do_not_add_up_are_found(split: Path) -> None:
    manifest = Manifest.load(split)
    shards = list(manifest.shards)
    shards[0] = replace(shards[0], num_samples=shards[0].num_samples + 1)
    shards[1] = replace(shards[1], num_samples=shards[1].num_samples - 1)
    replace(manifest, shards=tuple(shards), num_quarantined=3).save(split)
    faults = verify(open_dataset(split), quick=True)
    assert len(faults) == 3 and "lists 1 images and 3 are counted" in faults[2]


def test_more_shards_than_a_process_may_open_files(images: Path, tmp_path: Path) -> None:
    """A shard for each of 28 images, and files for 20."""
    convert(images, tmp_path, ConvertOptions(shard_size=1))
    dataset = open_dataset(tmp_path / "train")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest, fillers = max(map(int, os.listdir("/proc/self/fd"))), [os.dup(0)]
    while fillers[-1] < highest:  # so that none is free below
        fillers.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1 + 20, before[1]))
    try:
        assert len(dataset.shard_bytes) == 29 and verify(dataset) == []
        assert recompute(dataset) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for filler in fillers:
            os.close(filler)
