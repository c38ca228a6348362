"""The checkpoints that a job is given: whole, and of the data and of the crops that they are judged on."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from imagefeed.jobs.runs.checkpoints import check_fit, check_together, read_checkpoint
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.loader.dataset import open_dataset


def test_a_checkpoint_comes_with_the_digest_of_its_file(checkpoint: Path, tmp_path: Path) -> None:
    content, digest = read_checkpoint(checkpoint)
    assert digest == file_sha256(checkpoint)
    assert content["step"] == 2
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        read_checkpoint(tmp_path / "nothing.pt")
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"cut\.pt"):
        read_checkpoint(tmp_path / "cut.pt")


def test_a_checkpoint_that_would_run_something_is_refused_and_runs_nothing(checkpoint: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "train_config": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"trap\.pt"):
        read_checkpoint(tmp_path / "trap.pt")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_other_data_is_refused(checkpoint: Path, shards: Path) -> None:
    content, _ = read_checkpoint(checkpoint)
    data = shards / "tar"
    dataset, train = open_dataset(data / "val"), Manifest.load(data / "train")
    check_fit(checkpoint, content, data, train, dataset, other_data=False)
    other: Any = {**content, "data_digest": "0" * 64}
    with pytest.raises(ValueError, match="--other-data"):
        check_fit(checkpoint, other, data, train, dataset, other_data=False)
    check_fit(checkpoint, other, data, train, dataset, other_data=True)
    fewer: Any = {**content, "classes": content["classes"][:2]}
    with pytest.raises(ValueError, match=r"last\.pt knows 2 classes, .*tar has 3"):
        check_fit(checkpoint, fewer, data, train, dataset, other_data=True)
    empty = replace(dataset, manifest=replace(dataset.manifest, num_samples=0))
    with pytest.raises(ValueError, match=r"val holds no samples: there is nothing to judge on"):
        check_fit(checkpoint, content, data, train, empty, other_data=False)
    swapped: Any = {**other, "classes": content["classes"][::-1]}
    with pytest.raises(ValueError, match="not the same"):
        check_fit(checkpoint, swapped, data, train, dataset, other_data=True)


def test_nets_that_cannot_be_fed_the_same_images_are_refused(checkpoint: Path) -> None:
    content, _ = read_checkpoint(checkpoint)
    paths = [Path("a.pt"), Path("b.pt")]

    def together(second: dict[str, Any], digests: str = "ab") -> None:
        changed: Any = {**content, **second}
        check_together(paths, [content, changed], list(digests))

    together({})
    together({"train_config": {"recipe": "alexnet"}})
    with pytest.raises(ValueError, match=r"b\.pt and a\.pt are the same checkpoint"):
        together({}, "aa")
    with pytest.raises(ValueError, match=r"b\.pt was trained with crop size 227, a\.pt with 224"):
        together({"model_config": {**content["model_config"], "input_size": 227}})
    with pytest.raises(ValueError, match=r"b\.pt was trained with mean and scale"):
        together({"train_config": {"recipe": "resnet"}})
