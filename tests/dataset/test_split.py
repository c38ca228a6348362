"""A split is opened in a moment or refused with a reason and a cure; nothing hostile gets as far as the decoder."""

import copy
import gc
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagefeed.pipeline.dataset import split as split_module
from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, SAMPLES
from imagefeed.pipeline.dataset.tables import read_mean_image
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset


@pytest.fixture
def split(shards: Path, tmp_path: Path) -> Path:
    """A copy of the tar training split, to be spoilt."""
    return Path(shutil.copytree(shards / "tar" / "train", tmp_path / "train"))


def forge(split: Path, column: str, row: int, value: int) -> None:
    """Changes one number of the table of samples, and the manifest so that the file passes as the one written."""
    table = pq.read_table(split / SAMPLES)
    numbers = table[column].to_pylist()
    numbers[row] = value
    index = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(index, table.schema.field(index), pa.array(numbers, table.schema.types[index])),
        split / SAMPLES,
    )
    edit_manifest(split, lambda manifest: manifest["files"].update({SAMPLES: file_sha256(split / SAMPLES)}))


def edit_manifest(split: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((split / MANIFEST).read_text())
    change(manifest)
    (split / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("format", ["tar", "beton"])
def test_an_open_dataset_says_what_it_holds(shards: Path, format: str) -> None:
    dataset = open_dataset(str(shards / format / "train"))
    assert len(dataset) == 28 == len(dataset.samples) == len(dataset.columns.id)
    assert [each.wnid for each in dataset.classes] == ["ant", "bee", "cat"]
    assert dataset.statistics is dataset.manifest.statistics
    assert dataset.mean_image.dtype == np.float32 and dataset.mean_image.shape == (256, 256, 3)
    assert np.allclose(dataset.mean_image, read_mean_image(dataset.path))
    assert np.allclose(dataset.mean_image.mean(axis=(0, 1)), dataset.statistics.mean, atol=1e-3)


@pytest.mark.parametrize("format", ["tar", "beton"])
def test_an_address_is_where_the_payload_is(shards: Path, format: str) -> None:
    dataset = open_dataset(shards / format / "train")
    rows = np.array([5, 0, 27, 5, 13])
    for row, address in zip(rows, dataset.payload_addresses(rows)[0], strict=True):
        sample = dataset.samples.slice(row, 1).to_pylist()[0]
        shard = (dataset.path / dataset.manifest.shards[sample["shard"]].name).read_bytes()
        expected = shard[sample["offset"] : sample["offset"] + sample["size"]]
        assert bytes_at(address, sample["size"]).tobytes() == expected and expected.startswith(b"\xff\xd8")


def test_the_keys_stay_on_disk_until_a_name_is_asked_for(shards: Path) -> None:
    dataset = open_dataset(shards / "tar" / "train")
    assert len(dataset.columns.id) == 28 and "samples" not in vars(dataset)
    assert dataset.samples["key"][3].as_py() in dataset.name(3)


def test_a_copy_in_another_process_opens_its_own_maps(shards: Path) -> None:
    dataset = open_dataset(shards / "tar" / "train")
    dataset.payload_addresses(np.arange(28))
    for other in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):  # noqa: S301
        assert other == dataset and other._mapped == {}


def test_a_folder_of_splits_lists_them(shards: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a split but holds some: open one of .*train, .*val"):
        open_dataset(shards / "tar")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_dataset(shards / "nowhere")


def maps_of(folder: Path) -> int:
    """The maps of this process of files in a folder."""
    return sum(str(folder) in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.parametrize(("most", "kept"), [(5, 5), (4, 0)])
def test_a_split_of_many_shards_lets_maps_go(
    most: int, kept: int, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may have so many maps, and beyond that not even memory. Of five shards most or all may stay here."""
    monkeypatch.setattr(split_module, "MOST_MAPS", most)
    dataset = open_dataset(shards / "tar" / "train")
    assert len(dataset.shard_bytes) == 5
    before = maps_of(dataset.path)
    ids = [batch.sample_ids for batch in dataset.loader(batch_size=3, dtype="uint8")]
    del ids
    gc.collect()
    assert maps_of(dataset.path) - before == kept
    held = [dataset.shard_memory(number) for number in (0, 1, 0)]
    assert held[0] is held[2] and maps_of(dataset.path) - before == max(kept, 2)


def test_a_truncated_shard_is_refused_on_opening(split: Path) -> None:
    shard = split / "shard-00002.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"shard-00002.tar has \d+ bytes and not the \d+ that were written: restore"):
        open_dataset(split)


def test_a_missing_shard_is_refused_on_opening(split: Path) -> None:
    (split / "shard-00001.tar").unlink()
    with pytest.raises(FileNotFoundError, match="shard-00001.tar is missing: restore it, or convert"):
        open_dataset(split)


def test_a_shard_outside_the_folder_is_refused(split: Path) -> None:
    edit_manifest(split, lambda manifest: manifest["shards"][0].update(name="../../etc/passwd"))
    with pytest.raises(ValueError, match="passwd' is not a file of this folder"):
        open_dataset(split)


def test_counts_that_disagree_are_refused_on_opening(split: Path) -> None:
    edit_manifest(split, lambda manifest: manifest.update(num_samples=29))
    with pytest.raises(ValueError, match="the manifest counts 29 samples and its shards 28"):
        open_dataset(split)
    edit_manifest(
        split, lambda manifest: manifest["shards"][0].update(num_samples=manifest["shards"][0]["num_samples"] + 1)
    )
    with pytest.raises(ValueError, match="the manifest counts 29 samples and samples.parquet 28"):
        open_dataset(split)


@pytest.mark.parametrize(("name", "use"), [(SAMPLES, lambda d: d.samples), (MEAN_IMAGE, lambda d: d.mean_image)])
def test_an_altered_table_is_refused_when_read(split: Path, name: str, use: Callable[[Dataset], object]) -> None:
    data = bytearray((split / name).read_bytes())
    data[len(data) // 3] ^= 1
    (split / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} was altered after it was written: restore it"):
        use(open_dataset(split))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("offset", -1, "row 3, lies outside its shard"),
        ("offset", 2**62, "row 3, lies outside its shard"),
        ("size", 0, "row 3, lies outside its shard"),
        ("size", -5, "row 3, lies outside its shard"),
        ("size", 2**63 - 1, "row 3, lies outside its shard"),
        ("shard", 5, "row 3, names a shard that the manifest lacks"),
        ("shard", -1, "row 3, names a shard that the manifest lacks"),
        ("label", 3, "row 3, has a label beyond the classes"),
        ("label", -1, "row 3, has a label beyond the classes"),
        ("id", 2, "row 3, is not sorted by id, or its id is there twice"),
        ("id", -7, "row 3, is not sorted by id"),
    ],
)
def test_a_hostile_number_in_the_table_is_refused(split: Path, column: str, value: int, message: str) -> None:
    forge(split, column, 3, value)
    with pytest.raises(ValueError, match=message):
        _ = open_dataset(split).columns


def test_a_range_up_to_the_last_byte_of_the_shard_is_allowed(split: Path) -> None:
    dataset = open_dataset(split)
    length = dataset.manifest.shards[dataset.columns.shard[3]].num_bytes
    room = length - int(dataset.columns.offset[3])
    forge(split, "size", 3, room)
    assert open_dataset(split).columns.size[3] == room
    forge(split, "size", 3, room + 1)
    with pytest.raises(ValueError, match="row 3, lies outside its shard"):
        _ = open_dataset(split).columns
