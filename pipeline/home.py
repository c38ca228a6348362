"""Where things lie when the user names no place: below $IMAGEFEED_HOME, and made when they are first asked for."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.runners import Runner


def home() -> Path:
    """$IMAGEFEED_HOME, or ~/.cache/imagefeed."""
    return Path(os.environ.get("IMAGEFEED_HOME") or "~/.cache/imagefeed").expanduser().resolve()


def indexes() -> Path:
    """The folder for the indexes of shards that others made; any of them may be deleted, and is made again."""
    return home() / "indexes"


def sample_source() -> Path:
    """The sample dataset in the layout of the ILSVRC2012 downloads; drawn if it is not there."""
    from pipeline.sample import SampleConfig, make_sample  # here: who only asks for a place needs none of it

    folder = home() / "sample"
    make_sample(folder, SampleConfig())
    return folder


def sample_shards(run: "Runner | None" = None) -> Path:
    """The folder with the sample dataset's `train` and `val`; converted with the default options if not there."""
    from pipeline.conversion import convert
    from pipeline.options import ConvertOptions
    from pipeline.runners import run_here

    folder = home() / "shards"
    convert(sample_source(), folder, ConvertOptions(), run or run_here)
    return folder
