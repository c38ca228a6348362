"""A folder of class folders, `<class>/<image>`, or such folders under `train/` and `val/`.

A class is named by its folder and its label is its place in sorted order.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.manifest import Class
from pipeline.sources.table import Entry, Source, table_of

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SPLITS = {"train": "train", "val": "val", "validation": "val"}


def recognises(path: Path) -> bool:
    """Whether `path` holds class folders with at least one image, directly or below a split."""
    return any(_is_image(file) for folder in _folders(path) for file in [*folder.glob("*"), *folder.glob("*/*")])


def open_source(path: Path) -> Source:
    """Lists the images. Without split folders everything is "train". Raises where the splits' classes differ."""
    roots = {SPLITS[folder.name]: folder for folder in _folders(path) if folder.name in SPLITS} or {"train": path}
    names = {split: [folder.name for folder in _folders(root)] for split, root in roots.items()}
    classes = names.get("train", next(iter(names.values())))
    for split, found in names.items():
        odd = set(found) - set(classes)
        if odd:
            raise ValueError(f"{roots[split]} has class folders that train lacks: {', '.join(sorted(odd)[:5])}")
    return Source(
        kind="folder",
        root=path,
        classes=tuple(Class(name, name) for name in classes),
        splits={split: table_of(_entries(path, root, classes), root) for split, root in roots.items()},
    )


def _entries(top: Path, root: Path, classes: list[str]) -> Iterator[Entry]:
    """The images below `root/<class>`, any depth; the key is the path below `root`, its dots replaced."""
    for label, name in enumerate(classes):
        for folder, _, files in os.walk(root / name, followlinks=True):
            for file in files:
                path = Path(folder, file)
                if _is_image(path):
                    key = PurePosixPath(path.relative_to(root)).with_suffix("").as_posix()
                    # WebDataset ends a key at the first dot of its last part.
                    head, _, tail = key.rpartition("/")
                    yield Entry(
                        f"{head}/{tail.replace('.', '_')}",
                        label,
                        str(path.relative_to(top)),
                        0,
                        path.stat().st_size,
                    )


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
