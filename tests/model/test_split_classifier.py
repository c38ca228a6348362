"""A classifier that is split over the ranks is the whole one: same steps, fewer bytes.

`tests/training/test_train.py` has a whole run of it, with checkpoints.
"""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from imagefeed.jobs.training.config import parse
from imagefeed.jobs.training.distributed import World
from imagefeed.jobs.training.train import prepare
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.presets import PAPER
from tests.support import split_ranks


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


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    for words in (["--compression", "float16"], ["--dtype", "float16"], ["--sgd", "lars"]):
        with pytest.raises(SystemExit):
            parse(["--classifier-parallel", *words])
    config = parse(["--classifier-parallel", "--width", "0.1", "--batch-size", "6"])
    world = World(rank=0, size=3, local_rank=0, device=torch.device("cpu"), num_threads=1)
    with pytest.raises(ValueError, match="the 410 units of fc6 do not divide among 3 ranks"), ExitStack() as held:
        prepare(config, world, tmp_path / "run", held)
