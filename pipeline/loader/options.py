"""What a user says of a loader, and what follows from it in numbers."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache
from math import isqrt
from pathlib import Path
from typing import Any, ClassVar, Literal, get_type_hints

import numpy as np
import torch

from imagefeed.pipeline.dataset.fields import check_names
from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.image.stored import MOST_PIXELS
from imagefeed.pipeline.kernel.recipes import RECIPES, Recipe
from imagefeed.pipeline.kernel.transform import Transform, is_compiled
from imagefeed.pipeline.loader.option_check import Range, check_option
from imagefeed.pipeline.loader.ranks import found_ranks
from imagefeed.pipeline.sampling.mixture import mixed_order
from imagefeed.pipeline.sampling.order import (
    RankSlice,
    balanced_length,
    balanced_order,
    by_shards,
    epoch_order,
    shard_order,
)
from imagefeed.pipeline.sampling.residency import ShardResidency, residency

# Earlier names of options, accepted for one release more -> what they are called now.
OLD_NAMES = {
    "last": "drop_last",
    "samples": "sample_ids",
    "step": "transform",
    "window": "shuffle_shards",
    "standardise": "normalize",
}
# Names in other loaders -> ours, where the spelling does not lead there.
FOREIGN_NAMES = {
    "batch_sampler": "batch_size and shuffle",
    "batches_ahead": "prefetch",
    "collate_fn": "transform",
    "drop_remainder": "drop_last",
    "image_size": "crop_size",
    "indices": "sample_ids",
    "num_replicas": "world_size",
    "num_workers": "num_threads",
    "order": "shuffle",
    "pin": "pin_memory",
    "prefetch_factor": "prefetch",
    "sampler": "sample_ids and shuffle",
    "size": "crop_size",
    "workers": "num_threads",
}

SHUFFLE_SHARDS = 16
# Least and most of the options that are integers; the words of the docs follow from these.
RANGES: dict[str, Range] = {
    "batch_size": (1, 2**24),
    "seed": (0, 2**64 - 1),
    "rank": (0, 2**24 - 1),
    "world_size": (1, 2**24),
    "num_threads": (1, 4096),
    "shuffle_shards": (1, 2**31 - 1),
    "per_class": (1, 2**24),  # turns that the random draws tell apart
    "prefetch": (1, 4096),
    "colour_epochs": (0, 2**32),  # as many as there are
    "crop_size": (1, isqrt(MOST_PIXELS)),
    "resize": (0, isqrt(MOST_PIXELS)),
}


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """How a dataset is read in batches. Everything but `rank` is the same on all ranks."""

    recipe: Literal["alexnet", "alexnet-2012", "resnet", "eval", "ten-crop"] = "alexnet"
    """alexnet: random crop, mirror and colour as in the paper; alexnet-2012: as its authors' code did it, with a window
    for 32 samples; resnet: random resized crop and mirror; eval: the centre; ten-crop: the paper's ten views."""
    batch_size: int = 128
    """Samples of a batch on each rank."""
    seed: int = 0
    """Of the order and the augmentation, 0 to 2**64 - 1."""
    rank: int | None = None
    """Which of the processes that share each global batch this one is, 0 to `world_size` - 1. None: as the process
    group has it, else torchrun's RANK, else 0; looked up when the options are made, and kept by `replace`."""
    world_size: int | None = None
    """How many processes share each global batch; given with `rank`, or found where that is."""
    dtype: Literal["float32", "float16", "bfloat16", "uint8"] = "float32"
    """Of the images. uint8 is the pixels themselves: without mean and colour, which are then left to the caller."""
    layout: Literal["NCHW", "NHWC", "channels_last"] = "NCHW"
    """Of the images: a plane for each channel, or pixel by pixel. channels_last: the shape of NCHW over the memory of
    NHWC, as torch calls it and as its convolutions are fastest on a GPU."""
    num_threads: int | None = None
    """Threads that decode. None: one for each core that this process may use, divided by the ranks of its machine."""
    shuffle: bool | Literal["shards"] | None = None
    """A new order each epoch: of all samples, or shards: of a few shards at a time, so that each is fetched once.
    None: as the recipe has it (alexnet does), by shards where the dataset is remote and larger than its cache."""
    shuffle_shards: int = SHUFFLE_SHARDS
    """Shards whose samples are shuffled together, with shuffle="shards"."""
    per_class: int | None = None
    """Samples of each class in an epoch, the same for all: rare ones come again. None: every sample once."""
    sample_ids: Sequence[int] | np.ndarray | None = field(default=None, compare=False)
    """Ids of the samples that are used at all, each once; None: all. The others' absence changes nothing for these."""
    fields: Sequence[str] | None = None
    """Fields of the samples that batches have behind `valid`, by name, in this order: what `imagefeed convert --fields`
    stored. None: a batch is images, labels, sample_ids and valid."""
    drop_last: bool = False
    """Leave out the samples that do not fill a last global batch; otherwise that batch is padded."""
    prefetch: int = 2
    """Batches that are worked at or ready while the caller has one: what the loader is ahead, at least 1."""
    statistics: Path | str | None = None
    """The split (or its URL) whose mean image and colour statistics are used; None: this one, or `train` beside it."""
    mean: Literal["window", "centre", "channel"] | float | Sequence[float] | None = None
    """What is subtracted: the mean image at the crop's window or at its centre, or one number a channel, as for images
    that are not all of one size; or the numbers themselves, one or three, in [0, 1] where none is above 1, else in grey
    levels. None: as the recipe has it (resnet: channel, alexnet-2012: centre, others: window), where images of one size
    have a mean image; else channel."""
    std: float | Sequence[float] | None = None
    """What the rest is divided by: one number or three, in the unit of `mean`. None: see `normalize`."""
    normalize: bool | None = None
    """Divide by the standard deviation of each channel, that of the statistics or `std`. None: as the recipe has it
    (resnet does), and where `std` is given."""
    colour_epochs: int | None = None
    """Epochs with random colour, for recipes that have it; None: all."""
    crop_size: int | Callable[[int], int] = 224
    """Height and width of the crops, pixels; or a function that gives them for each epoch."""
    resize: int | None = None
    """Scale shorter sides to this before the crop, pixels, antialiased; 0: crop images as they are stored. None: as
    stored where their shorter sides are equal, else to 256/224 of `crop_size`. Nothing to random resized crops."""
    scale: Sequence[float] | None = None
    """Least and most area of a random resized crop, share of the image's. None: (0.08, 1)."""
    ratio: Sequence[float] | None = None
    """Least and most width over height of a random resized crop. None: (3/4, 4/3)."""
    hflip: float | None = None
    """How likely a random crop is mirrored, 0 to 1. None: 0.5."""
    interpolation: Literal["bilinear", "bicubic"] | None = None
    """Of what is resized, with antialiasing as Pillow has it. None: bilinear."""
    transform: Transform = None
    """A function of your own. Compiled by Numba it changes each crop before it is mirrored; any other Python function
    makes the whole of the image, uint8 tensor [3, H, W] as stored, and takes its own time: see docs/loader.md."""
    decoder: Literal["own", "turbojpeg"] = "own"
    """own: our decoder for the JPEGs that conversion writes, libjpeg-turbo (Pillow where that is not installed)
    for all others; turbojpeg: libjpeg-turbo for all. The pixels are the same."""
    verify: bool = True
    """Compare every payload with its hash before it is decoded (under 1 % of the time)."""
    on_error: Literal["raise", "skip"] = "raise"
    """What becomes of a sample that is damaged, or whose transform raises. skip: its row is as one of padding, but for
    its id; the loader warns and lists it in `skipped`."""
    pin_memory: bool = False
    """Batches in pinned memory, which a GPU copies from while the host works on; ordinary memory without CUDA."""

    ranks_found: ClassVar[bool] = False  # True where rank and world_size were not given

    def __post_init__(self) -> None:
        for name, kind in kinds_of(LoaderOptions).items():
            object.__setattr__(self, name, check_option(name, getattr(self, name), kind, RANGES.get(name)))
        if self.fields is not None:
            object.__setattr__(self, "fields", tuple(self.fields))
            check_names(self.fields, ())
        if (self.rank is None) != (self.world_size is None):
            raise ValueError(f"give both rank and world_size, or neither: {self.rank} and {self.world_size}")
        if self.rank is None:
            found = dict(zip(("rank", "world_size"), found_ranks(), strict=True))
            for name, value in {**found, "ranks_found": True}.items():
                object.__setattr__(self, name, value)
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                object.__setattr__(self, name, three_levels(name, value))
        for name, lowest, highest in (("scale", 0.0, 1.0), ("ratio", 0.0, np.inf)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, span(name, value, lowest, highest))
        if self.hflip is not None and not 0 <= self.hflip <= 1:
            raise ValueError(f"hflip is how likely a crop is mirrored, from 0 to 1, not {self.hflip}")
        if self.pin_memory and not torch.cuda.is_available():
            warnings.warn("pin_memory does nothing: torch finds no CUDA here", RuntimeWarning, stacklevel=4)
            object.__setattr__(self, "pin_memory", False)
        if self.per_class is not None and not self.shuffles:
            raise ValueError("per_class draws at random: it needs shuffle=True, or a recipe that shuffles")
        _ = self.rank_slice, self.levels  # which check their own fields
        self._check_that_all_is_used()

    def _check_that_all_is_used(self) -> None:
        """Raises `ValueError` for an option that was given and that the others leave nothing to do."""
        recipe = RECIPES[self.recipe]
        if self.makes_images:
            for name in MADE_BY_TRANSFORM:
                if (value := getattr(self, name)) != DEFAULTS[name]:
                    what = "a transform that Numba did not compile makes the whole of the image"
                    raise ValueError(f"{name}={value!r} does nothing, as {what}: leave it out")
        for name, windows in NEEDED_WINDOWS.items():
            if (value := getattr(self, name)) is not None and recipe.window not in windows:
                raise ValueError(f"{name}={value} does nothing to the crops of recipe {self.recipe}: leave it out")
        if self.interpolation and self.resize == 0 and recipe.window != "resized":
            raise ValueError(f"interpolation={self.interpolation!r} does nothing with resize=0: leave one of them out")
        if self.resize and recipe.window == "resized":
            raise ValueError(
                f"resize={self.resize} does nothing to recipe {self.recipe}, which resizes each crop: leave it out"
            )
        if self.resize and isinstance(self.crop_size, int) and self.resize < self.crop_size:
            raise ValueError(f"resize={self.resize} is less than crop_size={self.crop_size}: give at least as much")
        if self.mean == "window" and recipe.window == "resized":
            raise ValueError(
                f"mean='window' is of crops as they are stored, and recipe {self.recipe} resizes them: "
                "choose 'centre' or 'channel'"
            )
        if self.mean in ("window", "centre") and self.resize:
            raise ValueError(
                f"mean={self.mean!r} is of images as they are stored, and resize={self.resize} scales them: "
                "choose 'channel', or leave resize out"
            )
        if self.colour_epochs and not recipe.colour:
            raise ValueError(f"colour_epochs={self.colour_epochs}: recipe {self.recipe} has no colour, leave it out")
        if self.std is not None and self.normalize is False:
            raise ValueError("std is what normalize=True divides by: leave one of the two out")
        if self.shuffle in (True, False) and self.shuffle_shards != SHUFFLE_SHARDS:
            raise ValueError(f"shuffle_shards needs shuffle='shards', not {self.shuffle}")
        if self.statistics is not None and self.dtype != "uint8" and not self.needs_statistics:
            raise ValueError(
                "statistics are not used: mean and std are numbers, and there is no colour. Leave it out, or them"
            )

    @property
    def shuffles(self) -> bool:
        """Whether the order is a random one."""
        return RECIPES[self.recipe].shuffle if self.shuffle is None else bool(self.shuffle)

    @property
    def settled(self) -> Recipe:
        """The recipe with what these options say otherwise; a mean in numbers is one of the channels."""
        recipe = RECIPES[self.recipe]
        mean = recipe.mean if self.mean is None else self.mean if isinstance(self.mean, str) else "channel"
        normalize = self.std is not None or (recipe.normalize if self.normalize is None else self.normalize)
        names = ("scale", "ratio", "hflip", "interpolation")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(recipe, mean=mean, normalize=normalize, **given)

    @property
    def makes_images(self) -> bool:
        """Whether `transform` is no step of the kernel but a function that makes the images, see `transformed`."""
        return self.transform is not None and not is_compiled(self.transform)

    @property
    def side(self) -> int:
        """`crop_size` as a number. Raises `ValueError` where it is a function, see `at_epoch`."""
        if callable(self.crop_size):
            raise ValueError("crop_size as a function of the epoch is for `Dataset.loader` alone: give a number")
        return self.crop_size

    def at_epoch(self, epoch: int) -> "LoaderOptions":
        """The options with the `crop_size` of an epoch. Raises `TypeError` and `ValueError` where it is not one."""
        return replace(self, crop_size=self.crop_size(epoch)) if callable(self.crop_size) else self

    @property
    def levels(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """`mean` and `std` in grey levels (float64 [3] each), where they are numbers.

        Both are in [0, 1] or both in grey levels; a mean of 0 is the same in either. Raises `ValueError` otherwise.
        """
        mean, std = (
            None if each is None or isinstance(each, str) else np.array(each) for each in (self.mean, self.std)
        )
        shares = [bool((each <= 1).all()) for each in (mean, std) if each is not None and each.any()]
        if len(set(shares)) > 1:
            raise ValueError(
                f"mean={self.mean} and std={self.std}: one is in [0, 1] and the other in grey levels, give both in one"
            )
        unit = 255.0 if all(shares) else 1.0
        return None if mean is None else mean * unit, None if std is None else std * unit

    @property
    def colour(self) -> bool:
        """Whether any epoch has random colour."""
        return RECIPES[self.recipe].colour and self.has_colour(0)

    @property
    def needs_statistics(self) -> bool:
        """Whether the values depend on the statistics of a split; the pixels themselves (uint8) never do."""
        mean, std = self.levels
        return self.dtype != "uint8" and (mean is None or (self.settled.normalize and std is None) or self.colour)

    def has_colour(self, epoch: int) -> bool:
        """Whether samples get a random colour in an epoch, where the recipe has one."""
        return self.colour_epochs is None or epoch < self.colour_epochs

    @property
    def rank_slice(self) -> RankSlice:
        """The part of each global batch that this rank reads."""
        assert self.rank is not None and self.world_size is not None  # since these options were made
        return RankSlice(
            batch_size=self.batch_size, rank=self.rank, world_size=self.world_size, drop_last=self.drop_last
        )


DEFAULTS = {each.name: each.default for each in fields(LoaderOptions)}
# Options that are for some kinds of crops only.
NEEDED_WINDOWS = {"scale": ("resized",), "ratio": ("resized",), "hflip": ("random", "resized")}
# What the recipe and its options say of images, which a transform in Python makes instead.
MADE_BY_TRANSFORM = (
    *("recipe", "dtype", "layout", "statistics", "mean", "std", "normalize", "colour_epochs", "crop_size", "resize"),
    *("scale", "ratio", "hflip", "interpolation"),
)


@cache
def kinds_of(options: type) -> dict[str, Any]:
    """The annotated types of the fields of a dataclass, by name."""
    hints = get_type_hints(options)
    return {each.name: hints[each.name] for each in fields(options)}


def three_levels(name: str, value: Any) -> tuple[float, ...]:
    """One number or three for R, G and B, as three; a deviation is above 0. Raises `ValueError`."""
    numbers = np.broadcast_to(np.asarray(value, float), 3).tolist() if np.size(value) in (1, 3) else []
    least = "above 0 and" if name == "std" else "from 0 to 255, and"
    right = all(0 <= each <= 255 and (each > 0 or name == "mean") for each in numbers)
    if not numbers or not right:
        raise ValueError(f"{name} must be one number or three (R, G, B), {least} at most 255, not {value!r}")
    return tuple(numbers)


def span(name: str, value: Any, lowest: float, highest: float) -> tuple[float, float]:
    """Two numbers above `lowest`, the first not above the second, and none above `highest`. Raises `ValueError`."""
    numbers = [float(each) for each in value]
    if len(numbers) != 2 or not lowest < numbers[0] <= numbers[1] <= highest:
        most = f", at most {highest:g}" if np.isfinite(highest) else ""
        raise ValueError(f"{name} must be two numbers, least and most, above {lowest:g}{most}, not {value!r}")
    return numbers[0], numbers[1]


def options_of(given: Mapping[str, Any]) -> LoaderOptions:
    """The options with these names, old ones too, each of which is warned of (`DeprecationWarning`).

    Raises `TypeError` for a name that no option has, with the one that may have been meant.
    """
    names, options = [each.name for each in fields(LoaderOptions)], dict(given)
    for old, new in OLD_NAMES.items():
        if old in options:
            if new in options:
                raise TypeError(f"{old} is now called {new}: give one of them")
            warnings.warn(f"the option {old} is now called {new}", DeprecationWarning, stacklevel=3)
            options[new] = options.pop(old)
            if old == "last":
                if options[new] not in ("pad", "drop"):
                    raise ValueError(f"last must be pad or drop, not {options[new]!r}: say drop_last=True or False")
                options[new] = options[new] == "drop"
    for name in options:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            meant = FOREIGN_NAMES.get(name, near[0] if near else "")
            cure = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
            raise TypeError(f"a loader has no option {name!r}: {cure}")
    return LoaderOptions(**options)


def rows_of(dataset: SampleStore, options: LoaderOptions) -> np.ndarray | slice:
    """The rows of the table that are used, ascending (int64 [n], or all). Raises `ValueError` for ids it has not."""
    if options.sample_ids is None:
        return slice(None)  # of which no copy is made
    ids, wanted = dataset.columns.id, np.sort(np.asarray(options.sample_ids, np.int64))
    rows = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    wrong = (ids[rows] != wanted) | (np.diff(wanted, prepend=wanted[:1] - 1) == 0)
    if wrong.any() or not len(wanted):
        which = (
            f"sample {wanted[wrong][0]} is not in {dataset.called}, or named twice" if len(wanted) else "there are none"
        )
        raise ValueError(f"sample_ids must be ids of samples.parquet: {which}")
    return rows


def check_mixture(dataset: SampleStore, options: LoaderOptions) -> None:
    """Raises `ValueError` for options that choose samples, or their order, where a mix does so itself."""
    if dataset.mixture is None:
        return
    if options.per_class is not None or options.sample_ids is not None:
        raise ValueError("per_class and sample_ids choose samples, which a mix does by weight: join by concat instead")
    if not options.shuffles:
        raise ValueError("a mix draws at random: it needs shuffle=True, or a recipe that shuffles")


def order_of(dataset: SampleStore, options: LoaderOptions, seed: int, epoch: int) -> np.ndarray:
    """The entries of an epoch in the order in which its loader reads them (int64 [n]), see `sampling.order`."""
    rows, columns = rows_of(dataset, options), dataset.columns
    ids, count = columns.id[rows], len(columns.id)

    def of_all(entries: np.ndarray) -> np.ndarray:
        """Entries that count the rows that are used, as entries that count all rows of the table."""
        if isinstance(rows, slice):
            return entries
        turns, used = np.divmod(entries, len(rows))
        return turns * count + rows[used]

    if options.per_class is not None:
        labels = columns.label[rows]
        return of_all(balanced_order(ids, labels, seed=seed, epoch=epoch, per_class=options.per_class))
    shuffle: bool | str = RECIPES[options.recipe].shuffle if options.shuffle is None else options.shuffle
    if options.shuffle is None and shuffle and dataset.exceeds_cache:
        shuffle = "shards"
    if dataset.mixture is not None:
        entries = mixed_order(ids, dataset.mixture, seed=seed, epoch=epoch)
        if shuffle != "shards":
            return entries
        shards = columns.shard[entries % count]
        return entries[by_shards(shards, seed=seed, epoch=epoch, num_shards=options.shuffle_shards)]
    if shuffle == "shards":
        return of_all(shard_order(ids, columns.shard[rows], seed=seed, epoch=epoch, num_shards=options.shuffle_shards))
    return of_all(epoch_order(ids, seed=seed, epoch=epoch, shuffle=bool(shuffle)))


def num_samples_of(dataset: SampleStore, options: LoaderOptions) -> int:
    """Samples of a whole epoch, over all ranks."""
    if dataset.mixture is not None:
        return sum(dataset.mixture.shares)
    if options.per_class is None:
        return len(dataset.columns.id[rows_of(dataset, options)])
    return balanced_length(dataset.columns.label[rows_of(dataset, options)], options.per_class)


def residency_of(dataset: SampleStore, options: LoaderOptions, order: np.ndarray) -> ShardResidency:
    """When the epoch that reads the entries of `order` needs which shard."""
    shards = dataset.columns.shard
    return residency(
        shards[order % len(shards)],
        dataset.shard_bytes,
        global_batch=options.rank_slice.global_batch,
        ahead=options.prefetch,
    )
