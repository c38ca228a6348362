"""The subcommands of `imagefeed` that look at datasets."""

import shlex
import sys
from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import tyro

from imagefeed.jobs.cli.app import app
from imagefeed.jobs.cli.datasets import checked
from imagefeed.pipeline.bench.results import BenchOptions
from imagefeed.pipeline.checks.audit import AuditOptions
from imagefeed.pipeline.convert.summary import report
from imagefeed.pipeline.dataset.shard_paths import splits_at
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.runtime.cores import usable_cores
from imagefeed.pipeline.runtime.executors import Executor, processes
from imagefeed.pipeline.runtime.parts import part
from imagefeed.pipeline.sources.reading import ReadOptions

MOST_SHOWN = 50  # faults


@app.command(name="index")
def index_command(
    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
    statistics: bool = False,
    out: Path | None = None,
    reading: Annotated[ReadOptions, tyro.conf.arg(name="")] = ReadOptions(),
    workers: int = usable_cores(),
) -> None:
    """List shards that others made, which then open as a dataset; or list any source to a Parquet file.

    Args:
        path: A tar as WebDataset reads it, an FFCV beton, a folder of them, or several like 'train-{000..146}.tar';
            with `--out FILE.parquet` whatever `imagefeed convert` takes.
        statistics: Decode every image once: moments, mean image, sizes and hashes, as a conversion leaves them.
        out: A folder for the index, instead of the one below $IMAGEFEED_HOME that `open_dataset` finds by itself; or a
            file FILE.parquet for the list, a row an image: split, id, key, class, and which bytes of which file it is.
        reading: How a source is to be read, for such a list.
        workers: Processes that decode; by default one for each CPU that may be used.
    """
    if out is not None and out.suffix == ".parquet":
        from imagefeed.pipeline.sources.export import write_list

        if statistics:
            raise ValueError("a list of a source has no statistics: leave out --statistics, or give a folder for --out")
        print(f"{out}: {write_list(path, out, reading):,} images")
        return
    if reading != ReadOptions():
        raise ValueError("options of how to read a source are for a list of it: give FILE.parquet for --out")
    from imagefeed.pipeline.checks.statistics import make_index

    dataset = make_index(path, with_statistics=statistics, out=out, run=processes(checked(workers)))
    report({dataset.path: dataset.manifest})
    if not dataset.has_statistics:
        print(f"  no statistics yet; to take them: imagefeed index {shlex.quote(path)} --statistics")


@app.command(name="verify")
def verify_command(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    quick: bool = False,
    workers: int = usable_cores(),
) -> None:
    """Check a dataset: counts, hashes, headers, and that every image decodes; status 1 where something is wrong.

    Args:
        dataset: OUT, which holds splits; one split, such as OUT/train; or shards that others made; or the folder or URL
            of the ILSVRC2012 downloads, whose MD5 is then compared with the published one.
        quick: Look at tables and headers alone: no image is read.
        workers: Processes that read; by default one for each core that may be used.
    """
    from imagefeed.pipeline.checks.verify import verify
    from imagefeed.pipeline.sources.ilsvrc2012 import check_archives, holds_archives

    if holds_archives(dataset):
        if quick:
            raise ValueError(
                f"{dataset} holds the ILSVRC2012 downloads, of which every byte is read: leave out --quick"
            )
        for name in check_archives(dataset):
            print(f"{name}: as it was published", flush=True)
        return
    run, faults = processes(checked(workers)), 0
    for split in splits_at(dataset).values():
        opened = Split.open(split)
        sound = f"{len(opened):,} images are sound"
        if quick:
            sound = (
                f"tables, counts and headers of {len(opened.manifest.shards):,} shards agree on {len(opened):,} "
                "images, of which none was read and no shard hashed: leave out --quick for that"
            )
        faults += told(split, verify(opened, quick=quick, run=run), sound)
    conclude(dataset, faults)


@app.command(name="stats")
def stats_command(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    workers: int = usable_cores(),
) -> None:
    """Take a dataset's statistics again and compare them to the bit; or take them, where it has none yet.

    Args:
        dataset: OUT, which holds splits; one split, such as OUT/train; or shards that others made.
        workers: Processes that decode; by default one for each core that may be used.
    """
    run = processes(checked(workers))
    conclude(dataset, sum(check_statistics(split, run) for split in splits_at(dataset).values()))


def check_statistics(dataset: str, run: Executor) -> int:
    """Compares the statistics of one split, or takes them, and says so; returns the number of faults."""
    from imagefeed.pipeline.checks.statistics import make_index, recompute, take_statistics

    opened = Split.open(dataset)
    faults, done = [], "the statistics are those of the pixels"
    if opened.has_statistics:
        faults = recompute(opened, run)
    else:
        done = "statistics were taken"
        opened = (
            make_index(dataset, with_statistics=True, run=run)
            if opened.manifest.is_index
            else take_statistics(opened, run)
        )
    taken = opened.statistics
    print(f"{taken.num_pixels:,} pixels; mean R G B {' '.join(f'{each:.4f}' for each in taken.mean)}")
    print(f"eigenvalues of the covariance {' '.join(f'{each:.2f}' for each in taken.eigenvalues)}")
    return told(dataset, faults, done)


@app.command(name="inspect")
def inspect_command(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")],
    sheet: Path | None = None,
    num_images: int = 48,
    json: bool = False,
) -> None:
    """Show what is in a dataset: a table of its numbers and, if asked, a contact sheet of its images.

    Args:
        dataset: OUT, which holds splits; one split, such as OUT/train; or shards that others made.
        sheet: A file for the contact sheet, PNG; of one split.
        num_images: Images on the sheet, at even distances in the order of the ids.
        json: Print JSON, an object a line for each split, with the images of each class.
    """
    from imagefeed.pipeline.checks.contact_sheet import contact_sheet
    from imagefeed.pipeline.checks.summary import as_record, numbers

    if num_images < 1:
        raise ValueError(f"num-images {num_images}: choose at least 1 image")
    splits = splits_at(dataset)
    if sheet is not None and len(splits) > 1:
        raise ValueError(f"a contact sheet is of one split: name one of {', '.join(splits.values())}")
    for split in splits.values():
        opened = Split.open(split)
        if json:
            print(dumps({"dataset": split, **as_record(opened)}))
        else:
            print(split)
            for what, how_much in numbers(opened):
                print(f"  {what:18} {how_much}")
        if sheet is not None:
            count = contact_sheet(opened, sheet, num_images)
            print(f"{sheet}: {count} images", file=sys.stderr if json else sys.stdout)


@app.command(name="audit", aliases=["doubts"])  # its name until 0.1
def audit_command(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    options: Annotated[AuditOptions, tyro.conf.arg(name="")] = AuditOptions(),
    reading: Annotated[ReadOptions, tyro.conf.arg(name="")] = ReadOptions(),
    workers: int = usable_cores(),
) -> None:
    """Report duplicates, within and across splits, and images that are small, extreme, flat or damaged; change nothing.

    Args:
        source: Whatever `imagefeed convert` takes, or a dataset.
        out: A folder for doubts.parquet, every doubt, and doubts.html, the images side by side.
        options: What counts as doubtful.
        reading: How the source is to be read.
        workers: Processes that decode; by default one for each core that may be used.
    """
    with part("serve"):  # of which it needs jinja2 alone, which torch brings
        from imagefeed.jobs.report.audit_page import PAGE, AuditInputs, render_audit
    from imagefeed.pipeline.checks.audit import audit
    from imagefeed.pipeline.checks.audit_results import image_of, summary, write_table
    from imagefeed.pipeline.files.atomic import write_atomically
    from imagefeed.pipeline.sources.open_source import open_source

    opened = open_source(source, reading=reading)
    doubts = audit(opened, options, processes(checked(workers)))
    write_table(doubts, out)
    counts = summary(doubts)
    inputs = AuditInputs(
        name=str(opened.root),
        num_images={split: len(table) for split, table in opened.splits.items()},
        counts=counts,
        doubts=doubts,
        image_of=partial(image_of, opened),
    )
    write_atomically(out / PAGE, render_audit(inputs).encode())
    print(f"{'':10} {'images':>9} {'groups':>9} {'across splits':>14} {'of several classes':>19}")
    for kind, images, groups, across, classes in counts:
        print(f"{kind:10} {images:9,} {groups:9,} {across:14,} {classes:19,}")
    print(f"{out / PAGE} shows them; nothing was changed")


def told(split: str, faults: list[str], sound: str) -> int:
    """Says what was found in a split; returns how many faults that is."""
    for fault in faults[:MOST_SHOWN]:
        print(fault)
    if len(faults) > MOST_SHOWN:
        print(f"{split}: {len(faults) - MOST_SHOWN:,} more faults")
    if not faults:
        print(f"{split}: {sound}")
    return len(faults)


def conclude(dataset: str, faults: int) -> None:
    """Raises `ValueError` where there are faults, so that the command's status tells scripts."""
    if faults:
        raise ValueError(f"{dataset}: {faults:,} fault{'s' * (faults > 1)}")


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
        plot: Draw the results to this file too (PNG, SVG, PDF).
    """
    from imagefeed.pipeline.bench import advice  # here: torch and matplotlib take longer than the other commands
    from imagefeed.pipeline.bench.measure import measure
    from imagefeed.pipeline.loader.dataset import open_dataset

    findings = measure(open_dataset(dataset), options, done=lambda what: print(what, file=sys.stderr))
    advice.show(findings)
    if plot is not None:
        advice.plot(findings, plot)
