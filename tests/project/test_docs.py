"""The examples of docs/engines.md run as they stand, each after the block `setup`, on a small dataset."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from imagefeed.pipeline.formats.beton_merge import merge
from imagefeed.pipeline.loader.dataset import open_dataset

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
BLOCKS = dict(re.findall(r"```python (\w+)\n(.*?)```", PAGE, re.DOTALL))
FORMATS = {"ffcv": "beton"}


def test_every_block_has_a_name() -> None:
    assert PAGE.count("```python") == len(BLOCKS) == 6
    assert PAGE.count("```") == 2 * len(BLOCKS)


@pytest.mark.parametrize("name", [name for name in BLOCKS if name != "setup"])
def test_the_example_runs(name: str, shards: Path, tmp_path: Path) -> None:
    if name == "lightning" and find_spec("lightning") is None:
        pytest.skip("lightning is not installed")
    split = shards / FORMATS.get(name, "tar") / "train"
    code = BLOCKS["setup"] + BLOCKS[name]
    code = code.replace("/data/imagenet-256/train", str(split))
    if name == "ffcv":
        dataset = open_dataset(split)
        merge([split / shard.name for shard in dataset.manifest.shards], tmp_path / "train.beton")
    if not torch.cuda.is_available():
        code = code.replace('"cuda"', '"cpu"').replace(", pin_memory=True", "")
    counted = code.replace("    ...\n", "    seen = globals().get('seen', 0) + 1\n")
    if name != "lightning":
        counted += "\nassert seen in (1, 2), seen\n"  # one batch an epoch
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", counted],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "IMAGEFEED_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
