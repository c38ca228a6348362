"""Transforms in Python: what they make depends on the sample and the seed, not on who calls them; errors name samples.

Programs of their own: worker processes that outlive a test would disturb the next one.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from tests.support.processes import run_whole

ROOT = Path(__file__).resolve().parents[2]

BEGIN = """
import random, sys
import numpy as np, torch
from torch.nn.functional import interpolate
from imagefeed import open_dataset

def noisy(image):
    assert image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3
    noise = torch.rand(1) + np.random.rand() + random.random()
    return interpolate(image[None].float(), (16, 16))[0] + noise

def by_id(batches):
    return {int(i): (image, int(label), bool(valid)) for batch in batches
            for image, label, i, valid in zip(batch.images, batch.labels, batch.sample_ids, batch.valid) if i >= 0}

def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[i][0], other[i][0]) and one[i][1:] == other[i][1:] for i in one)

if __name__ == "__main__":
    train = open_dataset(sys.argv[1])
"""


def run(program: str, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    body = "\n".join(f"    {line}" for line in program.strip().splitlines())
    file.write_text(f"{BEGIN}{body}\n")
    with (tmp_path / "said").open("w+") as said:  # no pipe, which a worker could keep open
        command = [sys.executable, "-W", "error", str(file), str(path)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}  # this checkout, whatever is installed
        status = run_whole(command, cwd=ROOT, env=env, stdout=said, stderr=said)
        said.seek(0)
        assert status == 0, said.read()


@pytest.mark.parametrize("format", ["tar", "beton"])
def test_it_is_what_a_plain_loop_makes_on_any_number_of_processes_and_ranks(
    shards: Path, tmp_path: Path, format: str
) -> None:
    run(
        """
from imagefeed.pipeline.loader.transformed import seed_all
from imagefeed.random import OWN, draw
loaders = {n: train.loader(transform=noisy, batch_size=5, seed=3, num_threads=n) for n in (1, 2)}
generators = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
for epoch in range(2):
    found = {n: by_id(loader) for n, loader in loaders.items()}
    for i, (image, label, valid) in found[1].items():
        row = train.columns.id.tolist().index(i)
        seed_all([int(word) for word in draw(np.uint64(3), epoch, i, OWN, 0)])
        stored, target = train[row]
        assert torch.equal(image, noisy(stored)) and label == target and valid
    assert same(found[1], found[2])
    ranks = [train.loader(transform=noisy, batch_size=3, seed=3, rank=rank, world_size=2) for rank in (0, 1)]
    for loader in ranks:
        loader.set_epoch(epoch)
    parts = [by_id(loader) for loader in ranks]
    assert not parts[0].keys() & parts[1].keys() and same(parts[0] | parts[1], found[1])
    plain = train.loader(batch_size=5, seed=3)
    plain.set_epoch(epoch)
    loaders[1].set_epoch(epoch)
    assert [b.sample_ids.tolist() for b in plain] == [b.sample_ids.tolist() for b in loaders[1]]
""",
        shards / format / "train",
        tmp_path,
    )


def test_it_continues_where_it_stopped_on_another_number_of_ranks(shards: Path, tmp_path: Path) -> None:
    run(
        """
whole = by_id(train.loader(transform=noisy, batch_size=5))
first = train.loader(transform=noisy, batch_size=5)
batches = iter(first)
before = by_id([next(batches), next(batches)])
batches.close()
state = first.state_dict()
assert state == {"seed": 0, "epoch": 0, "position": 10}
after = {}
for rank in (0, 1, 2):
    loader = train.loader(transform=noisy, batch_size=4, rank=rank, world_size=3)
    loader.load_state_dict(state)
    got = list(loader)
    assert len(got) == 2 and all(batch.images.shape == (4, 3, 16, 16) for batch in got)
    assert not any(batch.images[~batch.valid].any() for batch in got)
    after |= by_id(got)
assert not before.keys() & after.keys() and same(before | after, whole)
twice = by_id(train.loader(transform=noisy, batch_size=6, per_class=9))
assert len(twice) < 27
""",
        shards / "tar" / "train",
        tmp_path,
    )


def test_what_it_raises_names_shard_sample_and_line_or_is_left_out(shards: Path, tmp_path: Path) -> None:
    run(
        r"""
import re, warnings
ids = train.columns.id.tolist()
wrong = (int(train[0].image.sum()) + 1) % 4

def picky(image):
    if int(image.sum()) % 4 == wrong:
        raise KeyError("a quarter")
    return noisy(image)

refused = {i for row, i in enumerate(ids) if int(train[row].image.sum()) % 4 == wrong}
assert refused
try:
    list(train.loader(transform=picky, batch_size=5))
except ValueError as error:
    words = r"shard-0000\d.tar: sample (\d+) \(.+\): the transform raised KeyError: 'a quarter'"
    words += r" \(line \d+ of .*program.py\)"
    assert int(re.search(words, str(error))[1]) in refused, error
else:
    raise AssertionError("no error")
loader = train.loader(transform=picky, batch_size=5, on_error="skip")
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    found = by_id(loader)
assert {i for i, (_, _, valid) in found.items() if not valid} == refused and len(loader.skipped) == len(refused)
assert warned and all(issubclass(each.category, RuntimeWarning) for each in warned)
assert all(label == -100 and not image.any() for image, label, valid in found.values() if not valid)
""",
        shards / "tar" / "train",
        tmp_path,
    )


@pytest.fixture
def train(shards: Path) -> Dataset:
    return open_dataset(shards / "tar" / "train")


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (lambda image: image.numpy(), "the transform must give a tensor, not a ndarray"),
        (lambda image: image[5], "the transform raised IndexError"),
    ],
)
def test_what_makes_no_tensor_of_the_first_sample_is_refused_at_once(
    train: Dataset, transform: Any, words: str
) -> None:
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=f"sample 0 .*{words}"):
        train.loader(transform=transform)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recipe", "resnet"),
        ("mean", 0.5),
        ("crop_size", 200),
        ("layout", "NHWC"),
        ("dtype", "float16"),
        ("hflip", 0.0),
        ("scale", (0.5, 1)),
        ("resize", 256),
    ],
)
def test_options_of_images_that_it_makes_are_refused(train: Dataset, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}=.* does nothing, as a transform that Numba did not compile"):
        train.loader(transform=lambda image: image, **{name: value})


def test_images_must_be_alike(shards: Path, tmp_path: Path) -> None:
    run(
        """
def odd(image):
    return image[:, :, : 100 + int(image.sum()) % 2]

try:
    list(train.loader(transform=odd, batch_size=5))
except ValueError as error:
    assert "and for the first sample torch.uint8 [3, 256, 10" in str(error), error
else:
    raise AssertionError("no error")
""",
        shards / "tar" / "train",
        tmp_path,
    )
