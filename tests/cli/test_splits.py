"""OUT, which a conversion was told, is taken wherever a split is meant; what needs one split names the choice."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from imagefeed.jobs.cli import datasets, inspect
from imagefeed.pipeline.dataset.manifest import QUARANTINE, Manifest
from imagefeed.pipeline.dataset.shard_paths import splits_at
from imagefeed.pipeline.loader.dataset import open_dataset


def test_what_a_path_stands_for(shards: Path, tmp_path: Path) -> None:
    both = ["beton/train", "beton/val", "tar/train", "tar/val"]
    assert splits_at(str(shards)) == {name: str(shards / name) for name in both}
    assert list(splits_at(str(shards / "tar"))) == ["train", "val"]
    shard = next((shards / "tar" / "train").glob("*.tar"))
    for one in (shards / "tar" / "train", shard, tmp_path, tmp_path / "nowhere", "s3://bucket/train"):
        assert splits_at(str(one)) == {"": str(one)}
    shutil.copytree(shards / "tar", tmp_path / "mixed")
    shutil.copy(shard, tmp_path / "mixed")  # then the folder is itself a set of shards
    assert splits_at(str(tmp_path / "mixed")) == {"": str(tmp_path / "mixed")}


def test_out_is_verified_whole(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shutil.copytree(shards / "tar", tmp_path / "out")
    inspect.verify_command(str(out), quick=True, workers=1)
    assert [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()] == [f"{out}/train", f"{out}/val"]
    for split in ("train", "val"):
        with (out / split / QUARANTINE).open("ab") as file:
            file.write(b"\0")
    with pytest.raises(ValueError, match=f"^{out}: 2 faults$"):
        inspect.verify_command(str(out), quick=True, workers=1)
    assert capsys.readouterr().out.count("was altered after it was written") == 2


def test_out_is_inspected_whole(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shards / "beton"
    inspect.inspect_command(str(out))
    assert [line for line in capsys.readouterr().out.splitlines() if line[0] != " "] == [f"{out}/train", f"{out}/val"]
    with pytest.raises(ValueError, match=f"one of {out}/train, {out}/val"):
        inspect.inspect_command(str(out), sheet=tmp_path / "sheet.png")
    inspect.stats_command(str(out), workers=1)
    assert capsys.readouterr().out.count("the statistics are those of the pixels") == 2


def test_json_counts_the_images_of_each_class(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect.inspect_command(str(shards / "tar"), json=True)
    for line, split in zip(capsys.readouterr().out.splitlines(), ("train", "val"), strict=True):
        said, dataset = json.loads(line), open_dataset(shards / "tar" / split)
        assert (said["dataset"], said["split"], said["format"]) == (str(shards / "tar" / split), split, "tar")
        counts = np.bincount(dataset.targets, minlength=3).tolist()
        assert [each["images"] for each in said["classes"]] == counts and sum(counts) == said["images"] == len(dataset)
        assert [(each["label"], each["id"]) for each in said["classes"]] == list(enumerate(("ant", "bee", "cat")))
        assert said["quarantined"] == dataset.manifest.num_quarantined
        assert said["bytes"] == dataset.shard_bytes.sum()
        assert said["statistics"]["mean"] == list(dataset.statistics.mean)


def test_all_splits_are_repacked(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets.repack_command(str(shards / "tar"), tmp_path, "beton", workers=1)
    for split in ("train", "val"):
        made, there = Manifest.load(tmp_path / split), Manifest.load(shards / "tar" / split)
        assert (made.format, made.num_samples) == ("beton", there.num_samples)


def test_what_needs_one_split_names_the_choice(shards: Path, tmp_path: Path) -> None:
    out = shards / "beton"
    with pytest.raises(FileNotFoundError, match=f"{out} is not a split but holds some: .*{out}/train, {out}/val"):
        datasets.merge_command(str(out), tmp_path / "one.beton")
    with pytest.raises(FileNotFoundError, match=f"{out}/train is a split itself; name the folder that holds it, {out}"):
        open_dataset(out / "train" / "train")
