"""The command `imagefeed`: each subcommand parses, calls one function and reports."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from pipeline import interrupt
from pipeline.conversion import ConvertOptions, convert
from pipeline.cores import usable_cores
from pipeline.dataset import open_dataset
from pipeline.findings import BenchOptions
from pipeline.manifest import Manifest
from pipeline.runners import processes
from pipeline.sample import SampleConfig, make_sample

app = tyro.extras.SubcommandApp()
CLI = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


@app.command(name="convert")
def convert_command(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    options: Annotated[ConvertOptions, tyro.conf.arg(name="")] = ConvertOptions(),
    workers: int = usable_cores(),
) -> None:
    """Convert images to training shards, OUT/train and OUT/val.

    Args:
        source: A folder, files such as 'DIR/train-*.tar', or a URL: the ILSVRC2012 downloads, packed or not, Kaggle's,
            Parquet, WebDataset tars, betons, a list of paths and labels, or a folder a class.
        out: The folder for the splits.
        options: How images become shards.
        workers: Processes to use; by default one for each core that may be used.
    """
    report(convert(source, out, options, processes(workers)))


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


@app.command(name="index")
def index_command(
    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
    statistics: bool = False,
    out: Path | None = None,
    workers: int = usable_cores(),
) -> None:
    """List shards that others made, which then open as a dataset; with statistics if asked.

    Args:
        path: A tar as WebDataset reads it, an FFCV beton, a folder of them, or several like 'train-{000..146}.tar'.
        statistics: Decode every image once: moments, mean image, sizes and hashes, as a conversion leaves them.
        out: A folder for the index, instead of the one below $IMAGEFEED_HOME that `open_dataset` finds by itself.
        workers: Processes that decode; by default one for each CPU that may be used.
    """
    from pipeline.index_statistics import make_index

    dataset = make_index(path, with_statistics=statistics, out=out, run=processes(workers))
    report({dataset.path: dataset.manifest})
    if not dataset.has_statistics:
        print(f"  no statistics yet; to take them: imagefeed index {shlex.quote(path)} --statistics")


@app.command(name="bench")
def bench_command(
    dataset: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    options: Annotated[BenchOptions, tyro.conf.arg(name="")] = BenchOptions(),
    plot: Path | None = None,
) -> None:
    """Measure what this machine can do with a dataset, where the time goes and what to change.

    Args:
        dataset: One split, such as OUT/train.
        options: How to measure.
        plot: A file for the same as a picture (PNG, SVG, PDF).
    """
    from pipeline import bench_report  # here: torch and matplotlib take longer than the other commands
    from pipeline.bench import measure

    findings = measure(open_dataset(dataset), options, done=lambda what: print(what, file=sys.stderr))
    bench_report.show(findings)
    if plot is not None:
        bench_report.plot(findings, plot)


def report(manifests: dict[Path, Manifest]) -> None:
    """Says what a conversion has made, one line a split."""
    for folder, manifest in manifests.items():
        size = sum(shard.num_bytes for shard in manifest.shards)
        print(
            f"{folder}: {manifest.num_samples:,} images of {len(manifest.classes):,} classes in "
            f"{len(manifest.shards):,} {manifest.format} shards, {size / 1e6:,.1f} MB"
        )
        if manifest.num_quarantined:
            print(
                f"  {manifest.num_quarantined:,} could not be used: {folder / 'quarantine.parquet'} says which and why"
            )


def run_command(command: Callable[[], None]) -> None:
    """Runs a command as a user expects it: a known error is one line and status 1, Ctrl-C is status 130."""
    interrupt.listen()
    try:
        command()
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or interrupt.caught():  # what a library has made of it counts as well
            print("interrupted: the same command goes on where this one stopped", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, ValueError | OSError | RuntimeError):
            sys.exit(f"error: {error}")
        raise


def main() -> None:
    """The console script."""
    run_command(lambda: app.cli(prog="imagefeed", description="Images into training shards.", config=CLI))
