"""Random sets of loader options: batches as the slow twin has them, or an error that names an option."""

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imagefeed.pipeline.loader.dataset import Dataset
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.fuzz.targets import ERROR, SAME, UNNAMED, WRONG
from tests.loader.test_every_option import VALUES, impossible, right, small

NAMES = list(LoaderOptions.__dataclass_fields__)
ODD: list[Any] = [-5, 1.5, True, "8", "yes", math.nan, math.inf, (1, 2), [], {}, 2**70, b"x"]


class OptionsTarget:
    """A tiny split whose loader gets up to five options, now and then one of an odd value."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    @cached_property
    def dataset(self) -> Dataset:
        return small(self.folder)

    def warm_up(self) -> None:
        for layout in VALUES["layout"]:
            for dtype in VALUES["dtype"]:
                assert right(self.dataset, {"crop_size": 8, "layout": layout, "dtype": dtype})

    def restore(self) -> None: ...

    def run(self, rng: np.random.Generator) -> tuple[str, str, str]:
        names = rng.choice(list(VALUES), rng.integers(1, 6), replace=False).tolist()
        options = {"crop_size": 8} | {name: VALUES[name][rng.integers(len(VALUES[name]))] for name in names}
        odd = rng.random() < 0.3
        if odd:
            options[str(rng.choice(NAMES))] = ODD[rng.integers(len(ODD))]
        try:
            good = right(self.dataset, options)
        except (TypeError, ValueError, FileNotFoundError) as error:
            told = isinstance(error, FileNotFoundError) or any(name in str(error) for name in options)
            named = told and (odd or impossible(options))
            return str(options), ERROR if named else UNNAMED, f"{type(error).__name__}: {error}"
        return str(options), SAME if good and (odd or not impossible(options)) else WRONG, ""
