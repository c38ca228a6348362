"""Where things lie when the user names no place: below $IMAGEFEED_HOME, and made when they are first asked for."""

import os
from pathlib import Path

from pipeline.conversion import ConvertOptions, convert
from pipeline.runners import Runner, run_here
from pipeline.sample import SampleConfig, make_sample


def home() -> Path:
    """$IMAGEFEED_HOME, or ~/.cache/imagefeed."""
    return Path(os.environ.get("IMAGEFEED_HOME") or "~/.cache/imagefeed").expanduser().resolve()


def sample_source() -> Path:
    """The sample dataset in the layout of the ILSVRC2012 downloads; drawn if it is not there."""
    folder = home() / "sample"
    make_sample(folder, SampleConfig())
    return folder


def sample_shards(run: Runner = run_here) -> Path:
    """The folder with the sample dataset's `train` and `val`; converted with the default options if not there."""
    folder = home() / "shards"
    convert(sample_source(), folder, ConvertOptions(), run)
    return folder
