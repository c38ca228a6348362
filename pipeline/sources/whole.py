"""What holds for sources of every kind: nothing is left out without a word, and what is in doubt is refused."""

import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.formats.left_out import LeftOut, left_files
from imagefeed.pipeline.sources.image_table import BY_NUMBER, Source
from imagefeed.pipeline.sources.locator import LOCATOR
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.split_names import NOT_ASKED, WORD, chosen, split_called

DATA = ("", "data")  # folders whose names tell nothing


def files_of(table: pa.Table) -> pa.Array:
    """The files (text [n]) that rows of `image_table.SCHEMA` lie in, each once."""
    found = pc.unique(table["file"])
    if pc.any(pc.match_substring(found, "#")).as_py():
        found = pc.unique(pc.replace_substring_regex(found, f"^{LOCATOR.pattern}$", r"\1"))
    return found


def with_left_out(source: Source, files: pa.Table) -> Source:
    """`source`, which knows of the `files` (`origin.FILES`) of its listing which ones no image and no label is from."""
    taken = pa.concat_arrays([pa.array(source.used, pa.string()), *map(files_of, source.splits.values())])
    names = files["name"].filter(pc.invert(pc.ends_with(files["name"], "/")))
    rest = names.filter(pc.invert(pc.is_in(names, value_set=taken)))
    return replace(source, left_out=left_files(rest.to_pylist()) + source.left_out)


def only_splits(source: Source, wanted: tuple[str, ...]) -> Source:
    """`source` with the splits that are `wanted` alone; all where none is. Raises `ValueError` for an unknown one."""
    kept = chosen(source.splits, wanted, source.root)
    if len(kept) == len(source.splits):
        return source
    left = {name: NOT_ASKED for name in source.splits if name not in kept}
    used = [name for split in left for name in files_of(source.splits[split]).to_pylist()]
    left_out = LeftOut(splits=left) + source.left_out
    return replace(source, splits=kept, left_out=left_out, used=(*source.used, *used))


def check_first_label(source: Source, reading: ReadOptions) -> None:
    """Raises `ValueError` where labels, numbers without names, begin at 1: either all are one too high, or a class has
    no image."""
    unnamed = all(each.wnid == each.words == str(label) for label, each in enumerate(source.classes))
    if reading.first_label is not None or source.rule != BY_NUMBER or not unnamed or len(source.classes) < 2:
        return
    if min(pc.min(table["label"]).as_py() for table in source.splits.values() if len(table)) == 1:
        last = len(source.classes) - 1
        raise ValueError(
            f"{source.root}: the labels go from 1 to {last}, and no image is of class 0: if they are counted from 1, "
            "--first-label 1; if class 0 has no image, --first-label 0"
        )


def check_configurations(source: Source) -> None:
    """Raises `ValueError` where folders beside each other hold shards of the same names for one split, as the
    configurations of one repository do: they are several datasets."""
    for split, table in source.splits.items():
        seen: dict[str, str] = {}
        if source.kind not in ("parquet", "tar", "beton"):
            return
        for file in sorted(files_of(table).to_pylist()):
            *folders, name = file.split("/")
            folders = [each for each in folders if split_called(each) is None and each.lower() not in DATA]
            if any("=" in each for each in folders):  # parts of one table, by a column's values
                continue
            folder, name = "/".join(folders), re.sub(r"[0-9]+-of-[0-9]+", "", WORD.sub("", name))
            if seen.setdefault(name, folder) != folder:
                raise ValueError(
                    f"{source.root} holds several configurations, which have files of the same names for {split}: "
                    f"{seen[name] or '.'} and {folder or '.'}; name one of them, {source.root}/{folder or seen[name]}"
                )
