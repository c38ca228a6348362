"""The names of a source's classes: from a file at its root (`dataset.classes.NAME_FILES`), or WordNet ids in keys."""

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.classes import NAME_FILES, parse_classes
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import InputFolder

WNID = r"(?:^|/)(?P<wnid>n[0-9]{8})_"  # in front of a key's last part


def read_names(origin: InputFolder, files: pa.Table) -> tuple[Class, ...] | None:
    """The classes; None without such a file among `files`. Raises `ValueError` where two of them differ."""
    there = pc.is_in(pa.array(NAME_FILES), value_set=files["name"].combine_chunks()).to_pylist()
    found = {
        name: parse_classes(origin.read(name), origin.path(name))
        for name, here in zip(NAME_FILES, there, strict=True)
        if here
    }
    if len(set(found.values())) > 1:
        raise ValueError(f"{origin.root}: {' and '.join(found)} name other classes: remove or rename all but one")
    return next(iter(found.values()), None)


def name_classes(tables: list[pa.Table], words: list[str], number: int) -> tuple[Class, ...]:
    """As many classes as there are labels or words, called by the WordNet ids in the keys if each has just one."""
    count = max(number, len(words))
    wnids = [str(label) for label in range(count)]
    for table in tables:
        found = pc.struct_field(pc.extract_regex(table["key"], WNID), "wnid")
        if found.null_count:
            continue
        pairs = pa.table({"label": table["label"], "wnid": found}).group_by(["label", "wnid"]).aggregate([])
        if len(pairs) == len(pc.unique(pairs["label"])) == len(pc.unique(pairs["wnid"])) == count:
            wnids = pairs.sort_by("label")["wnid"].to_pylist()
            break
    return tuple(Class(wnid, words[label] if label < len(words) else wnid) for label, wnid in enumerate(wnids))
