"""The subcommands of `imagefeed` that look at datasets."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.cli import app
from pipeline.cli_make import checked, report
from pipeline.cores import usable_cores
from pipeline.dataset import open_dataset
from pipeline.findings import BenchOptions
from pipeline.runners import processes


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

    dataset = make_index(path, with_statistics=statistics, out=out, run=processes(checked(workers)))
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
