"""A folder of class folders, `<class>/<image>`, or such folders under `train/` and `val/`.

A class is named by its folder and its label is its place in sorted order.
"""

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.sources.image_table import IMAGE, Source, by_key, key_of, labels_of, whole_files

SPLITS = {"train": "train", "val": "val", "validation": "val"}


def recognises(files: pa.Table) -> bool:
    """Whether there are class folders with at least one image, directly or below a split."""
    return len(named(files, f"[^/]+/{IMAGE}")) > 0


def open_source(origin: InputFolder, files: pa.Table) -> Source:
    """Lists the images. Without split folders everything is "train". Raises where the splits' classes differ."""
    images = named(files, f"[^/]+/[^/]+/{IMAGE}")
    tops = pc.unique(top(images["name"])).to_pylist()
    roots = {SPLITS[name]: name for name in tops if name in SPLITS}
    if len(roots) < len([name for name in tops if name in SPLITS]):
        raise ValueError(f"{origin.root} has both val/ and validation/: remove or rename one of them")
    if odd := sorted(set(tops) - set(SPLITS)) if roots else []:
        raise ValueError(
            f"{origin.root} has {', '.join(sorted(roots.values()))} and other folders with images beside, such as "
            f"{odd[0]}: name the one you mean, or move the others away"
        )
    parts = {}
    for split, root in (roots or {"train": ""}).items():
        prefix = f"{root}/" if root else ""
        found = files.filter(pc.starts_with(files["name"], prefix)) if root else files
        found = named(found, f"{prefix}[^/]+/{IMAGE}")
        parts[split] = found, pc.utf8_slice_codeunits(found["name"], len(prefix))
    taken = pa.concat_tables([found for found, _ in parts.values()])["name"].combine_chunks()
    every = named(files, IMAGE)["name"]
    left_out = pc.filter(every, pc.invert(pc.is_in(every, value_set=taken)))
    names = {split: sorted(pc.unique(top(below)).to_pylist()) for split, (_, below) in parts.items()}
    classes = tuple(Class(name, name) for name in names.get("train", next(iter(names.values()))))
    return Source(
        kind="folder",
        root=origin.root,
        classes=classes,
        left_out=tuple(left_out.to_pylist()),
        splits={
            split: by_key(
                whole_files(found, key_of(below), labels_of(top(below), classes, origin.path(roots.get(split, "")))),
                origin.path(roots.get(split, "")),
            )
            for split, (found, below) in parts.items()
        },
    )


def top(names: pa.Array) -> pa.Array:
    """The first part of each name."""
    return pc.replace_substring_regex(names, r"/.*$", "")
