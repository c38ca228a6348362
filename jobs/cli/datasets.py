"""The subcommands of `imagefeed` that write datasets."""

import shlex
from pathlib import Path
from typing import Annotated

import tyro

from imagefeed.jobs.cli.app import app
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.dry_run import describe, estimate
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.summary import report
from imagefeed.pipeline.dataset.shard_paths import splits_at
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.runtime.cores import usable_cores
from imagefeed.pipeline.runtime.executors import processes
from imagefeed.pipeline.synthetic.ilsvrc2012 import SampleConfig, make_sample


@app.command(name="convert")
def convert_command(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    out: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    options: Annotated[ConvertOptions, tyro.conf.arg(name="")] = ConvertOptions(),
    workers: int = usable_cores(),
    dry_run: bool = False,
) -> None:
    """Convert images to training shards, OUT/train and OUT/val.

    Args:
        source: A folder, files such as 'DIR/train-*.tar', or a URL: the ILSVRC2012 downloads, packed or not, Kaggle's,
            Parquet, WebDataset tars, betons, a list of paths and labels, or a folder a class.
        out: The folder for the splits, or a URL in an object store, such as s3://BUCKET/NAME.
        options: How images become shards.
        workers: Processes to use; by default one for each core that may be used.
        dry_run: Say what would be written, how large it would be and how long it would take; write nothing.
    """
    run = processes(checked(workers))
    if dry_run:
        print(describe(estimate(source, out, options), workers))
    else:
        report(convert(source, out, options, run))


@app.command(name="sample")
def sample_command(
    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
    config: Annotated[SampleConfig, tyro.conf.arg(name="")] = SampleConfig(),
) -> None:
    """Draw a small dataset in the layout of the ILSVRC2012 downloads.

    Args:
        directory: The folder for the three archives.
        config: What to draw.
    """
    make_sample(directory, config)
    command = f"imagefeed convert {shlex.quote(str(directory))} OUT"
    print(f"{directory}: the sample dataset is there; convert it with: {command}")


@app.command(name="repack")
def repack_command(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    format: Format,
    workers: int = usable_cores(),
) -> None:
    """Copy a dataset to the other format, or others' shards to a split of ours; nothing is decoded or encoded.

    Args:
        dataset: One split, such as OUT/train; OUT, whose splits are then all copied; or shards that others made.
        out: The folder for the new split, such as OUT/beton/train; of several splits, the folder for all of them.
        format: The format to write. Only betons take raw pixels, only tars take images that are no grey or RGB JPEGs.
        workers: Processes that copy; by default one for each core that may be used.
    """
    from imagefeed.pipeline.convert.repack import repack

    run = processes(checked(workers))
    for name, split in splits_at(dataset).items():
        report({out / name: repack(Split.open(split), out / name, format, run)})


@app.command(name="merge")
def merge_command(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.beton")],
) -> None:
    """Make one beton of several, for a stock ffcv.loader.Loader, which opens one; nothing is encoded.

    Args:
        dataset: A split in betons, such as OUT/train, or betons that others made, such as 'part-*.beton'.
        out: The beton to write.
    """
    from imagefeed.pipeline.formats.beton_merge import merge

    opened = Split.open(dataset)
    if opened.manifest.format != "beton":
        raise ValueError(f"{dataset} is in tars: write betons with `imagefeed repack` first")
    count = merge([opened.path / shard.name for shard in opened.manifest.shards], out)
    print(f"{out}: {count:,} images of {len(opened.manifest.shards):,} betons, {out.stat().st_size / 1e6:,.1f} MB")


def checked(workers: int) -> int:
    """`workers`. Raises `ValueError` where that is no number of processes."""
    if workers < 1:
        raise ValueError(f"workers {workers}: choose at least 1 process")
    return workers
