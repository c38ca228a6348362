"""The options of a loader as keyword arguments: for `help()`, editors and type checkers."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np

from imagefeed.pipeline.kernel.transform import Transform
from imagefeed.pipeline.loader.options import LoaderOptions

F = TypeVar("F", bound=Callable[..., Any])


class LoaderKeywords(TypedDict, total=False):
    """The fields of `LoaderOptions`, which says what each means."""

    recipe: Literal["alexnet", "alexnet-2012", "resnet", "eval", "ten-crop"]
    batch_size: int
    seed: int
    rank: int | None
    world_size: int | None
    dtype: Literal["float32", "float16", "bfloat16", "uint8"]
    layout: Literal["NCHW", "NHWC", "channels_last"]
    num_threads: int | None
    shuffle: bool | Literal["shards"] | None
    shuffle_shards: int
    per_class: int | None
    sample_ids: Sequence[int] | np.ndarray | None
    fields: Sequence[str] | None
    drop_last: bool
    prefetch: int
    statistics: Path | str | None
    mean: Literal["window", "centre", "channel"] | float | Sequence[float] | None
    std: float | Sequence[float] | None
    normalize: bool | None
    colour_epochs: int | None
    crop_size: int | Callable[[int], int]
    resize: int | None
    scale: Sequence[float] | None
    ratio: Sequence[float] | None
    hflip: float | None
    interpolation: Literal["bilinear", "bicubic"] | None
    transform: Transform
    decoder: Literal["own", "turbojpeg"]
    verify: bool
    on_error: Literal["raise", "skip"]
    pin_memory: bool


def with_option_names(function: F) -> F:
    """A method whose keyword arguments are those of `LoaderOptions`, so that `help()` shows each with its default."""
    own = inspect.signature(function)
    named = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = inspect.signature(LoaderOptions).parameters.values()
    function.__signature__ = own.replace(parameters=[*named, *options])  # type: ignore[attr-defined]
    return function
