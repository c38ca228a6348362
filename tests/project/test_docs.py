"""The Python examples of the docs run as they stand, on a small dataset: all of a page in one program, but those of
docs/interop.md one by one after its block `setup`. What is replaced in them is said here."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.formats.beton_merge import merge
from imagefeed.pipeline.loader.dataset import open_dataset
from tests.support.field_sources import FIELDS, parquet
from tests.support.servers import s3_bucket

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "interop.md").read_text()
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
    check_runs(counted, tmp_path)


def check_runs(program: str, home: Path) -> None:
    """Runs a program in a process and a home of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT), "IMAGEFEED_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr[-2000:]


# What the text of a page leaves to the reader.
GIVEN = {
    "README.md": "import torch; torch.manual_seed(0); losses = []\n",
    "docs/loader.md": """
import numpy as np
seen = 0
def step(images, labels):
    global seen
    seen += 1
decoded, sample_ids = np.zeros((2, 256, 256, 3), np.uint8), np.arange(2)
""",
    "docs/remote.md": "seen = 0\n",
    "docs/decoder.md": """
from imagefeed import open_dataset
train = open_dataset("/data/imagenet-256/train")
""",
    "docs/first-dataset.md": "",
    "docs/migrating.md": "seen = 0\n",
}
# What must have come out at the end of a page: 28 images are one batch.
CLAIMED = {
    "README.md": "assert len(losses) == 8 and losses[-1] < 0.8 * losses[0], losses",
    "docs/loader.md": """
assert seen == 4, seen
assert len(both) == 39 and len(loader_of_both) == 1 and loader_of_mix.num_samples == 1000
assert "700 from the 28 of" in repr(weighted) and "each 25 times on average" in repr(weighted)
assert batch.shape == (2, 224, 224, 3), batch.shape
(made,) = loader
assert made.images.shape == (128, 3, 64, 64) and made.valid.sum() == 28, made.images.shape
plain, erased = (next(iter(each)) for each in (train.loader(), train.loader(transform=erase)))
changed = (plain.images != erased.images).any(1).sum((1, 2))[plain.valid]
assert ((0 < changed) & (changed <= 50 * 50)).all(), changed
""",
    "docs/remote.md": "assert seen == 1, seen",
    "docs/decoder.md": "assert next(iter(loader)).valid.sum() == 28",
    "docs/first-dataset.md": "assert len(train) == 36 and len(val) == 6 and epoch == 1 and 0 <= right <= 6",
    "docs/migrating.md": "assert seen == 6, seen",  # WebDataset's loop, and five of ours
}
# A page's long work, made short; and what its claim looks at.
SHORTER = {
    "README.md": {
        "range(90)": "range(8)",
        "optimizer.step()\n": "optimizer.step(); losses.append(loss.item())\n",
    },
    "docs/first-dataset.md": {'"train": 100, "val": 20': '"train": 12, "val": 2', "range(10)": "range(2)"},
}


@pytest.mark.parametrize("page", GIVEN)
def test_the_examples_of_a_page_run(page: str, shards: Path, more: Path, tmp_path: Path) -> None:
    text = (ROOT / page).read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks and text.count("```python") == len(blocks)
    if "/data/photos" in text:
        convert(parquet(tmp_path / "photos"), tmp_path / "out", ConvertOptions(fields=FIELDS))
    program = GIVEN[page] + "\n".join(blocks) + CLAIMED[page]
    for what, by in {
        "/data/imagenet-256/train/shard-{00000..00312}.tar": f"{shards}/tar/train/shard-{{00000..00003}}.tar",
        '"/data/train.beton"': repr(str(shards / "beton" / "train" / "shard-00000.beton")),
        '"/data/imagenet-256/train"': repr(str(shards / "tar" / "train")),
        '"/data/flowers/train"': repr(str(more / "tar" / "train")),
        '"/data/photos/train"': repr(str(tmp_path / "out" / "train")),
        **SHORTER.get(page, {"range(90)": "range(2)"}),
        "    ...\n": "    seen += 1\n",
    }.items():
        program = program.replace(what, by)
    if "s3://" not in program:
        check_runs(program, tmp_path)
        return
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    shutil.copytree(shards / "tar", tmp_path / "bucket" / "imagenet-256")
    with s3_bucket("bucket", tmp_path / "bucket"):
        check_runs(program, tmp_path)


def test_the_plain_example_runs_and_continues(shards: Path, tmp_path: Path) -> None:
    example = (ROOT / "docs" / "examples" / "plain_torch.py").read_text()
    begin, end = example.replace("EPOCHS, SAVE_EVERY = 2", "EPOCHS, SAVE_EVERY = 1").split(
        'if __name__ == "__main__":\n'
    )
    data = f"sys.argv[1:] = [{str(shards / 'tar')!r}]\n"
    again = """
from contextlib import redirect_stdout
from io import StringIO
EPOCHS += 1
with redirect_stdout(StringIO()) as said:
    main(Path(sys.argv[1]))
assert "after 1 steps" in said.getvalue() and "after 2 steps" not in said.getvalue(), said.getvalue()
"""
    check_runs(begin + data + textwrap.dedent(end) + again, tmp_path)


def test_no_page_has_examples_that_do_not_run() -> None:
    pages = {str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
    assert {page for page in pages if "```python" in (ROOT / page).read_text()} == {*GIVEN, "docs/interop.md"}
