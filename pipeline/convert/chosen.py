"""The source of a conversion, as its options ask for it, said to the user and kept apart from the output."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.files.output_folder import OutputFolder
from imagefeed.pipeline.files.paths import real
from imagefeed.pipeline.sources.class_order import BY_DATASET, BY_FILE, in_order
from imagefeed.pipeline.sources.describe import describe_source
from imagefeed.pipeline.sources.held_out import with_val
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.subset import select


def chosen_source(source: str | Path, out: OutputFolder, options: ConvertOptions) -> Source:
    """What `options` take of `source` for a conversion into `out`; says on standard error what was understood.

    Raises as `open_source`, `in_order`, `with_val` and `select` do, and `ValueError` where the output would lie among
    the images.
    """
    if real(source) == str(out):
        raise ValueError(f"{out} is both the source and the output: choose another folder, such as {out}/shards")
    opened = in_order(open_source(source, options.fields, str(out), options), options.order)
    if options.val_fraction is not None:
        opened = with_val(opened, options.val_fraction)
    opened = select(opened, options.classes, options.limit)
    for split, table in opened.splits.items():
        for folder in options.folders(split).values():
            check_apart(real(opened.root), table["file"], f"{out}/{folder}")
    if not options.classes:
        check_classes(opened, options)
    print(describe_source(opened), file=sys.stderr, flush=True)
    return opened


def check_classes(source: Source, options: ConvertOptions) -> None:
    """Raises `ValueError` where a source has one class that nobody has asked for: most often a folder too high or too
    low was named."""
    if len(source.classes) == 1 and not options.one_class and source.rule not in (BY_FILE, BY_DATASET):
        raise ValueError(
            f"{source.root} has one class, {source.classes[0].wnid}: name the folder that holds the class folders, "
            "or the list that has the labels; if one class is meant, --one-class"
        )


def check_apart(root: str, files: pa.Array, folder: str) -> None:
    """Raises `ValueError` where one of the source's `files` (text [n], names below `root` or absolute) is in the output
    `folder`."""
    if f"{root}/".startswith(f"{folder}/"):
        within = pc.invert(pc.starts_with(files, "/"))
    else:
        within = pc.starts_with(files, f"{folder}/")
        if folder.startswith(f"{root}/"):
            within = pc.or_(within, pc.starts_with(files, folder.removeprefix(f"{root}/") + "/"))
    if pc.any(within).as_py():
        file = files[pc.index(within, True).as_py()]
        raise ValueError(f"{folder}, where shards are to go, holds {file} of the source: choose another folder")
