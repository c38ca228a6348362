"""Payloads move between containers and never change: repacked there and back, and merged for the stock FFCV loader."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.repack import repack
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.dataset.tables import read_samples
from imagefeed.pipeline.formats.beton_merge import merge
from imagefeed.pipeline.image.pillow import load_rgb
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.runtime.executors import processes
from imagefeed.pipeline.sources.export import write_list
from imagefeed.pipeline.sources.open_source import open_source
from tests.convert.test_convert import contents


@pytest.mark.parametrize(("one", "other"), [("tar", "beton"), ("beton", "tar")])
def test_repacked_is_as_if_converted_to_that_format(one, other, shards: Path, tmp_path: Path) -> None:
    repack(open_dataset(shards / one / "train"), tmp_path / "there", other)
    assert contents(tmp_path / "there") == contents(shards / other / "train")
    repack(open_dataset(tmp_path / "there"), tmp_path / "back", one)
    assert contents(tmp_path / "back") == contents(shards / one / "train")


def test_any_number_of_workers_repacks_alike(shards: Path, tmp_path: Path) -> None:
    repack(open_dataset(shards / "tar" / "train"), tmp_path, "beton", processes(2))
    assert contents(tmp_path) == contents(shards / "beton" / "train")


def test_what_a_format_cannot_hold_is_an_error_that_names_the_sample(images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path / "raw", ConvertOptions(format="beton", raw=True))
    with pytest.raises(ValueError, match=r"ant/\d+: raw pixels go into betons only"):
        repack(open_dataset(tmp_path / "raw" / "val"), tmp_path / "a", "tar")
    convert(images, tmp_path / "files", ConvertOptions(resize="none"))
    with pytest.raises(ValueError, match=r"002: a beton holds JPEGs"):  # the PNGs
        repack(open_dataset(tmp_path / "files" / "val"), tmp_path / "b", "beton")
    assert not list(tmp_path.glob("[ab]/*shard*"))


def test_an_altered_sample_is_not_passed_on(shards: Path, tmp_path: Path) -> None:
    repack(open_dataset(shards / "tar" / "val"), tmp_path / "a", "tar")
    row = read_samples(tmp_path / "a").to_pylist()[3]
    shard = tmp_path / "a" / Manifest.load(tmp_path / "a").shards[row["shard"]].name
    data = bytearray(shard.read_bytes())
    data[row["offset"] + 40] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=rf"sample {row['id']} \({row['key']}\) was altered"):
        repack(open_dataset(tmp_path / "a"), tmp_path / "b", "beton")


def test_others_shards_become_a_split(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for number, file in enumerate(sorted((shards / "beton" / "train").glob("*.beton"))):
        (theirs / f"part-{number}.beton").write_bytes(file.read_bytes())
    manifest = repack(open_dataset(theirs), tmp_path / "train", "tar")
    ours = read_samples(tmp_path / "train")
    assert manifest.num_samples == 28 and verify(open_dataset(tmp_path / "train")) == []
    assert sorted(ours["xxh3"].to_pylist()) == sorted(read_samples(shards / "tar" / "train")["xxh3"].to_pylist())
    with pytest.raises(FileExistsError, match="already holds a split"):
        repack(open_dataset(theirs), tmp_path / "train", "tar")


STOCK = """
import sys
import numpy as np
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption

path, out, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
loader = Loader(path, batch, num_workers=1, order=OrderOption.SEQUENTIAL, pipelines=pipelines, os_cache=True)
images, labels = zip(*((np.array(image), np.array(label)) for image, label in loader))
np.savez(out, images=np.concatenate(images), labels=np.concatenate(labels)[:, 0])
"""


def test_the_stock_loader_reads_a_merged_beton(shards: Path, tmp_path: Path) -> None:
    folder, merged = shards / "beton" / "train", tmp_path / "train.beton"
    betons = [folder / shard.name for shard in Manifest.load(folder).shards]
    assert merge(betons, merged) == 28
    # In a process of its own: FFCV's loader alters Numba for the whole process.
    subprocess.run([sys.executable, "-c", STOCK, merged, tmp_path / "read.npz", "4"], check=True, timeout=180)
    read = np.load(tmp_path / "read.npz")
    rows = sorted(read_samples(folder).to_pylist(), key=lambda row: (row["shard"], row["offset"]))
    assert read["labels"].tolist() == [row["label"] for row in rows]
    for row, image in zip(rows, read["images"], strict=True):
        payload = betons[row["shard"]].read_bytes()[row["offset"] : row["offset"] + row["size"]]
        np.testing.assert_allclose(image.astype(int), load_rgb(payload), atol=4)  # its decoder takes a faster DCT


def test_merging_is_associative_and_of_one_beton_the_identity(shards: Path, tmp_path: Path) -> None:
    folder = shards / "beton" / "train"
    betons = sorted(folder.glob("*.beton"))
    merge(betons[:1], tmp_path / "one.beton")
    assert (tmp_path / "one.beton").read_bytes() == betons[0].read_bytes()
    merge(betons, tmp_path / "all.beton")
    merge(betons[:2], tmp_path / "first.beton")
    merge([tmp_path / "first.beton", *betons[2:]], tmp_path / "again.beton")
    assert (tmp_path / "again.beton").read_bytes() == (tmp_path / "all.beton").read_bytes()


def test_what_cannot_be_merged(shards: Path, tmp_path: Path) -> None:
    beton = next((shards / "beton" / "train").glob("*.beton"))
    short = tmp_path / "short.beton"
    short.write_bytes(beton.read_bytes()[:-24])
    with pytest.raises(ValueError, match=r"short\.beton is cut short"):
        merge([beton, short], tmp_path / "out.beton")
    (tmp_path / "there.beton").touch()
    with pytest.raises(FileExistsError):
        merge([beton], tmp_path / "there.beton")
    assert not (tmp_path / "out.beton").exists()


def test_a_source_is_listed_as_it_would_be_converted(images: Path, tmp_path: Path) -> None:
    assert write_list(str(images), tmp_path / "list.parquet") == 38
    table = pq.read_table(tmp_path / "list.parquet").to_pylist()
    convert(images, tmp_path / "out", ConvertOptions())
    for split in ("train", "val"):
        listed = {row["id"]: row for row in table if row["split"] == split}
        assert [listed[number]["key"] for number in range(len(listed))] == open_source(str(images)).splits[split][
            "key"
        ].to_pylist()
        for row in read_samples(tmp_path / "out" / split).to_pylist():
            assert (listed[row["id"]]["key"], listed[row["id"]]["label"]) == (row["key"], row["label"])
            assert listed[row["id"]]["class"] == row["key"].split("/")[0]
