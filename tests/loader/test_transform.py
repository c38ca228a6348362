"""Transforms of one's own that Numba compiled: what they change, how often they are compiled, and what they raise."""

from pathlib import Path
from typing import Any

import pytest
from numba import njit

from imagefeed.pipeline.kernel.fused import fill
from imagefeed.pipeline.kernel.transform import NO_TRANSFORM, entry_of
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.sampling.rng import OWN, below, draw
from tests.support import reference


@njit
def erase(image, seed, epoch, sample_id, turn):
    """A black square of 50 pixels anywhere."""
    words = draw(seed, epoch, sample_id, OWN, turn)
    top, left = below(words[0], 175), below(words[1], 175)
    image[top : top + 50, left : left + 50] = 0


@pytest.mark.parametrize("recipe", ["alexnet", "resnet"])
def test_a_step_of_ones_own_changes_the_crop_before_it_is_mirrored(shards: Path, recipe: str) -> None:
    train = open_dataset(shards / "tar" / "train")
    options: dict[str, Any] = {"recipe": recipe, "dtype": "uint8", "layout": "NHWC", "batch_size": 28}
    ((plain,), (stepped,)) = (train.loader(transform=step, **options) for step in (None, erase))
    for i, sample_id in enumerate(plain.sample_ids.tolist()):
        image = plain.images[i].numpy().copy()
        mirrored = reference.windows_of(recipe, 0, 0, sample_id, 256, 256, 224)[0][4]
        pixels = image[:, ::-1] if mirrored else image
        words = reference.draw(0, 0, sample_id, 128)
        top, left = words[0] * 175 // 2**32, words[1] * 175 // 2**32
        pixels[top : top + 50, left : left + 50] = 0
        assert (stepped.images[i].numpy() == image).all()


@njit
def refuse_the_third(image, seed, epoch, sample_id, turn):
    """No change, and none of sample 3."""
    if sample_id == 3:
        raise ValueError("no threes")


def test_what_a_step_raises_names_shard_and_sample(shards: Path) -> None:
    for format in ("tar", "beton"):
        train = open_dataset(shards / format / "train")
        key = train.samples["key"][train.samples["id"].to_pylist().index(3)]
        words = f"shard-0000.*: sample 3 .*{key}.*: the transform raised an error, ValueError: no threes"
        with pytest.raises(ValueError, match=words):
            list(train.loader(transform=refuse_the_third, batch_size=4))


def test_a_step_is_compiled_once_for_all_loaders(shards: Path) -> None:
    first, second = (entry_of(refuse_the_third) for _ in range(2))
    assert first is second and first.address != NO_TRANSFORM == entry_of(None).address
    train = open_dataset(shards / "tar" / "train")
    compiled = len(fill.signatures)
    for transform in (None, erase, refuse_the_third):
        train.loader(transform=transform, batch_size=28)
    assert len(fill.signatures) <= compiled + 1  # one kernel, whatever the transform


def test_what_a_step_refuses_is_left_out_when_asked(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    loader = train.loader(transform=refuse_the_third, on_error="skip", batch_size=28)
    with pytest.warns(RuntimeWarning, match="no threes"):
        (batch,) = loader
    assert batch.sample_ids[~batch.valid].tolist() == [3] and batch.labels.tolist().count(-100) == 1
    assert not batch.images[~batch.valid].any()
