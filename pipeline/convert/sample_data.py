"""The sample dataset, drawn and converted when it is first asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagefeed.pipeline.runtime.executors import Executor
from imagefeed.pipeline.files.paths import in_home


def sample_source() -> Path:
    """The sample dataset in the layout of the ILSVRC2012 downloads; drawn if it is not there."""
    from imagefeed.pipeline.synthetic.ilsvrc2012 import (  # here: who only asks for a place needs none of it
        SampleConfig,
        make_sample,
    )

    folder = in_home("sample")
    make_sample(folder, SampleConfig())
    return folder


def sample_shards(run: "Executor | None" = None) -> Path:
    """The folder with the sample dataset's `train` and `val`; converted with the default options if not there."""
    from imagefeed.pipeline.convert.convert import convert
    from imagefeed.pipeline.convert.options import ConvertOptions
    from imagefeed.pipeline.runtime.executors import run_here

    folder = in_home("shards")
    convert(sample_source(), folder, ConvertOptions(), run or run_here)
    return folder
