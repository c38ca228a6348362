"""Which files belong to which split, by the names that people give to splits, in their paths."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
ORDER = ("train", "val", "test")
WORD = re.compile(rf"(?:^|[-_./])({'|'.join(SPLITS)})(?=[-_./]|$)", re.IGNORECASE)
NOT_ASKED = "--splits leaves it out"
NO_LABELS = "it has no labels"

T = TypeVar("T")


def split_called(name: str) -> str | None:
    """The split that a folder of this name is; None where it is none."""
    return SPLITS.get(name.lower())


def by_split(files: pa.Table, where: str) -> dict[str, pa.Table]:
    """`files` (`origin.FILES`) by split; all are "train" if no name says.

    Raises `ValueError` where some say and others do not.
    """
    words = [WORD.findall(name) for name in files["name"].to_pylist()]
    splits = pa.array([SPLITS[found[-1].lower()] if found else "" for found in words], pa.string())
    names = set(splits.to_pylist())
    if names == {""}:
        return {"train": files}
    if "" in names:
        said = [name for name in ORDER if name in names]
        odd = files["name"][splits.index("").as_py()].as_py()
        pattern = re.sub(r"[0-9]+", "*", files["name"][splits.index(said[0]).as_py()].as_py())
        raise ValueError(
            f"{where} has files of {' and '.join(said)} beside {odd}, whose name says neither train nor val: name "
            f"those that you mean, with a pattern such as '{where}/{pattern}'"
        )
    return {split: files.filter(pc.equal(splits, split)) for split in ORDER if split in names}


def chosen(splits: Mapping[str, T], wanted: Sequence[str], where: str) -> dict[str, T]:
    """Those of the `splits` that are `wanted`; all where none is. Raises `ValueError` for one that is not there."""
    if missing := [name for name in wanted if name not in splits]:
        raise ValueError(f"{where} has no split {missing[0]}: it has {', '.join(splits)}")
    return {name: each for name, each in splits.items() if not wanted or name in wanted}
