"""Options by their names: those of today, those of before with a warning, and a hint for all others."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.loader.options import FOREIGN_NAMES, OLD_NAMES, LoaderOptions, options_of

NAMES = [each.name for each in dataclasses.fields(LoaderOptions)]


@njit
def nothing(image, seed, epoch, sample_id, turn):
    """No change."""


OLD: list[tuple[str, Any, Any]] = [
    ("last", "pad", False),
    ("last", "drop", True),
    ("samples", [3, 4], [3, 4]),
    ("step", nothing, nothing),
    ("window", 7, 7),
    ("standardise", True, True),
]


@pytest.mark.parametrize(("old", "given", "means"), OLD)
def test_an_old_name_means_what_it_meant_and_says_the_new_one(old: str, given: Any, means: Any) -> None:
    new = OLD_NAMES[old]
    with pytest.warns(DeprecationWarning, match=f"the option {old} is now called {new}"):
        options = options_of({old: given, "batch_size": 5})
    assert getattr(options, new) == means and options.batch_size == 5


def test_every_old_name_is_tried_above_and_every_new_one_is_an_option() -> None:
    assert {old for old, _, _ in OLD} == set(OLD_NAMES)
    assert set(OLD_NAMES.values()) <= set(NAMES)
    assert not (set(OLD_NAMES) | set(FOREIGN_NAMES)) & set(NAMES)
    assert {word for meant in FOREIGN_NAMES.values() for word in meant.split(" and ")} <= set(NAMES)


def test_the_warning_points_at_the_callers_line(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    with pytest.warns(DeprecationWarning, match="last") as warned:
        loader = train.loader(last="drop", batch_size=5, dtype="uint8")
    assert len(warned) == 1 and warned[0].filename == __file__
    assert len(loader) == 5 and len(train.loader(batch_size=5, dtype="uint8")) == 6


@pytest.mark.parametrize("name", NAMES)
def test_todays_names_are_taken_as_they_are(name: str) -> None:
    default = getattr(LoaderOptions(), name)
    assert options_of({name: default}) == LoaderOptions()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"num_workers": 4}, "a loader has no option 'num_workers': did you mean num_threads?"),
        ({"batch_sampler": []}, "did you mean batch_size and shuffle?"),
        ({"size": 96}, "did you mean crop_size?"),
        ({"pin": True}, "did you mean pin_memory?"),
        ({"pinned_memory": True}, "did you mean pin_memory?"),
        ({"batchsize": 4}, "did you mean batch_size?"),
        ({"normalise": True}, "did you mean normalize?"),
        ({"wordl_size": 4}, "did you mean world_size?"),
        ({"zzz": 4}, "'zzz': there are recipe, batch_size, seed"),
        ({"last": "drop", "drop_last": True}, "last is now called drop_last: give one of them"),
    ],
)
def test_a_name_that_is_no_option_is_an_error_with_a_hint(given: dict, words: str) -> None:
    with pytest.raises(TypeError) as error:
        options_of(given)
    assert words in str(error.value)


def test_an_old_value_that_never_was_is_an_error() -> None:
    with pytest.warns(DeprecationWarning, match="last"), pytest.raises(ValueError, match="pad or drop, not 'keep'"):
        options_of({"last": "keep"})


def test_colour_ends_before_the_epoch_of_that_number() -> None:
    assert [LoaderOptions(colour_epochs=2).has_colour(epoch) for epoch in range(4)] == [True, True, False, False]
    assert LoaderOptions().has_colour(2**32 - 1)
    assert not LoaderOptions(colour_epochs=0).has_colour(0)


def test_windows_are_drawn_for_samples_or_for_chunks_of_the_order() -> None:
    ids = np.array([9, 3, 7, 1])
    assert LoaderOptions().settled.draw_keys(ids, 30).tolist() == [9, 3, 7, 1]
    assert LoaderOptions(recipe="alexnet-2012").settled.draw_keys(ids, 30).tolist() == [0, 0, 1, 1]
