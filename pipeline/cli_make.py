"""The subcommands of `imagefeed` that write datasets."""

from pathlib import Path
from typing import Annotated

import tyro

from pipeline.cli import app
from pipeline.conversion import Place, convert
from pipeline.cores import usable_cores
from pipeline.dataset import open_dataset
from pipeline.estimate import estimate, told
from pipeline.manifest import QUARANTINE, Format, Manifest
from pipeline.options import ConvertOptions
from pipeline.runners import processes
from pipeline.sample import SampleConfig, make_sample
from pipeline.storage import is_url


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
        print(told(estimate(source, out, options), workers))
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
    print(f"{directory}: the sample dataset is there; convert it with: imagefeed convert {directory} OUT")


@app.command(name="repack")
def repack_command(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    format: Format,
    workers: int = usable_cores(),
) -> None:
    """Copy a dataset to the other format, or others' shards to a split of ours; nothing is decoded or encoded.

    Args:
        dataset: One split, such as OUT/train, or shards that others made.
        out: The folder for the new split, such as OUT/beton/train.
        format: The format to write. Raw pixels go into betons only, and what is no grey or RGB JPEG into tars only.
        workers: Processes that copy; by default one for each core that may be used.
    """
    from pipeline.repack import repack

    report({out: repack(open_dataset(dataset), out, format, processes(checked(workers)))})


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
    from pipeline.merge import merge

    opened = open_dataset(dataset)
    if opened.manifest.format != "beton":
        raise ValueError(f"{dataset} is in tars: write betons with `imagefeed repack` first")
    count = merge([opened.path / shard.name for shard in opened.manifest.shards], out)
    print(f"{out}: {count:,} images of {len(opened.manifest.shards):,} betons, {out.stat().st_size / 1e6:,.1f} MB")


def checked(workers: int) -> int:
    """`workers`. Raises `ValueError` where that is no number of processes."""
    if workers < 1:
        raise ValueError(f"workers {workers}: choose at least 1 process")
    return workers


def report(manifests: dict[Place, Manifest]) -> None:
    """Says what has been made, one line a split."""
    for folder, manifest in manifests.items():
        size = sum(shard.num_bytes for shard in manifest.shards)
        print(
            f"{folder}: {manifest.num_samples:,} images of {len(manifest.classes):,} classes in "
            f"{len(manifest.shards):,} {manifest.format} shards, {size / 1e6:,.1f} MB"
        )
        if manifest.num_quarantined:
            print(f"  {manifest.num_quarantined:,} could not be used: {folder}/{QUARANTINE} says which and why")
        if manifest.statistics is None and not manifest.is_index:
            how = "--statistics" if is_url(folder) else f"imagefeed stats {folder}"
            print(f"  no statistics of the pixels yet; to take them: {how}")
