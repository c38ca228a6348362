"""A classifier that is split over the ranks is the whole one: same steps, same checkpoints, fewer bytes."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from imagefeed.jobs.runs.folder import CHECKPOINT
from imagefeed.jobs.training.config import parse
from imagefeed.jobs.training.distributed import World
from imagefeed.jobs.training.train import main, prepare
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import load_checkpoint
from imagefeed.model.presets import PAPER
from tests.support import split_ranks
from tests.training.test_train import Launch, arguments, data, launches, records, weights

__all__ = ["data", "launches"]  # fixtures


def test_the_same_steps_in_float64_on_three_ranks_and_the_bytes_that_the_formulas_say(tmp_path: Path) -> None:
    size, found_at = 3, tmp_path / "found.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={size}"]
    done = subprocess.run(
        [*command, "-m", "tests.support.split_ranks", str(found_at)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(found_at.read_text())

    with torch.device("meta"):
        options: dict[str, Any] = {**PAPER.architecture, "width": split_ranks.WIDTH}
        net = AlexNet(num_classes=split_ranks.NUM_CLASSES, **options)
    inputs, hidden = net.fc6.in_features, net.fc6.out_features
    parts = {"fc6.weight": [hidden // size, inputs], "fc6.bias": [hidden // size]}
    parts |= {"fc7.weight": [hidden // size, hidden], "fc7.bias": [hidden // size]}
    parts |= {"fc8.weight": [split_ranks.NUM_CLASSES, hidden // size]}
    assert found["paper"]["parts"] == found["torchvision"]["parts"] == parts
    norms = [f"norms.{number}.{name}" for number in (5, 6) for name in ("weight", "bias")]
    assert found["modern"]["parts"] == parts | {name: [hidden // size] for name in norms}

    all_of_it = sum(weight.numel() for weight in net.parameters())
    split = sum(weight.numel() for name, weight in net.named_parameters() if name in parts)
    activations = 2 * (size - 1) * split_ranks.EACH * (inputs + hidden + split_ranks.NUM_CLASSES)
    around = 2 * (size - 1) / size  # of the numbers in an all-reduce
    assert found["paper"]["bytes"] == pytest.approx(8 * (activations + around * (all_of_it - split)), abs=10)
    assert found["all-reduce"]["none"] == pytest.approx(8 * around * all_of_it, abs=10)
    assert found["all-reduce"]["bfloat16"] == pytest.approx(2 * around * all_of_it, abs=10)  # all in one bucket


def test_a_split_run_trains_as_any_other_and_its_checkpoint_loads_anywhere(
    data: Path, tmp_path: Path, launches: list[Launch]
) -> None:
    options: dict[str, Any] = {"dropout": 0.0, "learning_rate": 0.001, "max_steps": 7}
    whole, split = tmp_path / "whole", tmp_path / "split"
    launches.append(Launch(arguments(data, whole, **options), ranks=2))
    launches.append(Launch(arguments(data, split, **options, classifier_parallel=True, accumulate=3), ranks=2))
    outputs = [launch.end() for launch in launches]
    assert [launch.process.returncode for launch in launches] == [0, 0], outputs

    results = [load_checkpoint(out / CHECKPOINT) for out in (whole, split)]
    assert results[0]["model"].keys() == results[1]["model"].keys()
    torch.testing.assert_close(weights(results[1]), weights(results[0]), rtol=1e-3, atol=1e-5)
    for one, other in zip(records(split), records(whole), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    sent = [next(line["sent"] for line in records(out)) for out in (whole, split)]
    assert sent[0] > 10 * sent[1] > 0

    for out, accumulate in ((whole, 1), (split, 2)):  # by one process, from either
        main(parse(arguments(data, out, **{**options, "max_steps": 10}, accumulate=accumulate, resume=True)))
    results = [load_checkpoint(out / CHECKPOINT) for out in (whole, split)]
    assert [result["step"] for result in results] == [10, 10]
    torch.testing.assert_close(weights(results[1]), weights(results[0]), rtol=1e-3, atol=1e-5)


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    for words in (["--compression", "float16"], ["--dtype", "float16"], ["--sgd", "lars"]):
        with pytest.raises(SystemExit):
            parse(["--classifier-parallel", *words])
    config = parse(["--classifier-parallel", "--width", "0.1", "--batch-size", "6"])
    world = World(rank=0, size=3, local_rank=0, device=torch.device("cpu"), num_threads=1)
    with pytest.raises(ValueError, match="the 410 units of fc6 do not divide among 3 ranks"), ExitStack() as held:
        prepare(config, world, tmp_path / "run", held)
