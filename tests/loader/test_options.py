"""Options by their names: those of today, those of before with a warning, and a hint for all others."""

import dataclasses
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from numba import njit

from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.keywords import LoaderKeywords
from imagefeed.pipeline.loader.option_check import alternatives
from imagefeed.pipeline.loader.options import (
    FOREIGN_NAMES,
    OLD_NAMES,
    RANGES,
    LoaderOptions,
    kinds_of,
    options_of,
)
from tests.support.option_table import table

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
        loader = train.loader(last="drop", batch_size=5, dtype="uint8")  # type: ignore[call-arg]
    assert len(warned) == 1 and warned[0].filename == __file__
    assert len(loader) == 5 and len(train.loader(batch_size=5, dtype="uint8")) == 6


@pytest.mark.parametrize("name", NAMES)
def test_todays_names_are_taken_as_they_are(name: str) -> None:
    default = {each.name: each.default for each in fields(LoaderOptions)}[name]
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


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"mean": "chanel"}, ValueError, "mean must be one of window, centre, channel, .* did you mean channel"),
        ({"recipe": "resnet50"}, ValueError, "recipe must be one of .* not 'resnet50': did you mean resnet"),
        ({"resize": -5}, ValueError, "resize must be .* from 0 to 13377, None, not -5"),
        ({"colour_epochs": -1}, ValueError, "colour_epochs must be .* from 0 to 4294967296"),
        ({"seed": 1.5}, TypeError, "seed must be an integer from 0 to 18446744073709551615, not 1.5"),
        ({"seed": True}, TypeError, "seed must be an integer"),
        ({"crop_size": 0}, ValueError, "crop_size must be one of an integer from 1 to 13377, a function"),
        ({"batch_size": "8"}, TypeError, "batch_size must be an integer from 1 to 16777216, not '8'"),
        ({"shuffle": "yes"}, ValueError, "shuffle must be one of True or False, shards, None, not 'yes'"),
        ({"verify": 1}, TypeError, "verify must be True or False, not 1"),
        ({"sample_ids": [True, False]}, TypeError, "sample_ids must be one of a row of integers"),
        ({"sample_ids": [1.5]}, TypeError, "sample_ids must be"),
        ({"fields": "score"}, TypeError, "fields must be one of a row of text, None, not 'score'"),
        ({"fields": [1]}, TypeError, "fields must be one of a row of text"),
        ({"fields": ["valid"]}, ValueError, "field valid"),
        ({"mean": (1, 2)}, ValueError, "mean must be one number or three"),
        ({"mean": float("nan")}, TypeError, "mean must be"),
        ({"mean": (0.5, 0.5, 256)}, ValueError, "at most 255"),
        ({"std": 0}, ValueError, "std must be one number or three .* above 0"),
        ({"batch_size": 2**70}, ValueError, "batch_size must be an integer from 1 to 16777216"),
        ({"rank": 0, "world_size": 2**70}, ValueError, "world_size must be one of an integer from 1 to 16777216, None"),
        ({"scale": (0.5,)}, ValueError, "scale must be two numbers, least and most, above 0, at most 1"),
        ({"scale": (0.5, 1.5)}, ValueError, "scale must be two numbers"),
        ({"ratio": (2, 1)}, ValueError, "ratio must be two numbers, least and most, above 0, not"),
        ({"scale": 0.5}, TypeError, "scale must be one of a row of numbers, None"),
        ({"hflip": -0.5}, ValueError, "hflip is how likely a crop is mirrored, from 0 to 1, not -0.5"),
        ({"hflip": True}, TypeError, "hflip must be one of a number, None"),
        ({"scale": (0.5, 1)}, ValueError, "scale=.* does nothing to the crops of recipe alexnet"),
        ({"recipe": "eval", "hflip": 0.5}, ValueError, "hflip=0.5 does nothing to the crops of recipe eval"),
        ({"interpolation": "bicubic", "resize": 0}, ValueError, "interpolation='bicubic' does nothing with resize=0"),
        ({"interpolation": "lanczos"}, ValueError, "interpolation must be one of bilinear, bicubic, None"),
        ({"transform": 5}, TypeError, "transform must be one of a function, None, not 5"),
        ({"mean": 0.5, "std": 58}, ValueError, r"one is in \[0, 1\] and the other in grey levels"),
        ({"std": 0.2, "normalize": False}, ValueError, "std is what normalize=True divides by"),
        ({"resize": 100}, ValueError, "resize=100 is less than crop_size=224"),
        ({"recipe": "resnet", "resize": 256}, ValueError, "resize=256 does nothing to recipe resnet"),
        ({"recipe": "resnet", "mean": "window"}, ValueError, "mean='window' is of crops as they are stored"),
        ({"mean": "centre", "resize": 256}, ValueError, "resize=256 scales them"),
        ({"recipe": "eval", "colour_epochs": 3}, ValueError, "recipe eval has no colour"),
        ({"shuffle": True, "shuffle_shards": 4}, ValueError, "shuffle_shards needs shuffle='shards'"),
        ({"recipe": "eval", "mean": 0.5, "statistics": "x"}, ValueError, "statistics are not used"),
    ],
)
def test_a_wrong_value_is_an_error_with_the_option_and_what_is_allowed(given: dict, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        options_of(given)


def test_interpolation_is_of_resized_crops_whatever_resize_says() -> None:
    assert options_of({"recipe": "resnet", "interpolation": "bicubic", "resize": 0}).settled.interpolation == "bicubic"


def test_memory_is_pinned_where_there_is_a_gpu_and_a_warning_where_not() -> None:
    if torch.cuda.is_available():
        assert options_of({"pin_memory": True}).pin_memory
        return
    with pytest.warns(RuntimeWarning, match="pin_memory does nothing: torch finds no CUDA here"):
        options = options_of({"pin_memory": True})
    assert not options.pin_memory


def test_numbers_of_numpy_are_numbers() -> None:
    options = options_of({"batch_size": np.int64(8), "verify": np.bool_(False), "mean": np.array([0.1, 0.2, 0.3])})
    assert type(options.batch_size) is int and options.verify is False and options.mean == (0.1, 0.2, 0.3)
    assert options_of({"mean": 0.5}).mean == (0.5, 0.5, 0.5)


def test_ranges_are_those_of_integers() -> None:
    integers = {name for name, kind in kinds_of(LoaderOptions).items() if int in alternatives(kind)}
    assert set(RANGES) == integers


def test_the_keywords_are_the_fields() -> None:
    """What type checkers see, and what `help()` shows."""
    assert get_type_hints(LoaderKeywords) == kinds_of(LoaderOptions)
    shown = inspect.signature(Dataset.loader).parameters
    assert list(shown) == ["self", *NAMES]
    assert all(shown[each.name].default == each.default for each in dataclasses.fields(LoaderOptions))


def test_the_documented_table_is_that_of_the_options() -> None:
    assert table() in (Path(__file__).parents[2] / "docs" / "loader.md").read_text()
