"""Which files belong to which split, by the words `train`, `val` and `test` in their paths."""

import re

import pyarrow as pa
import pyarrow.compute as pc

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
WORD = re.compile(rf"(?:^|[-_./])({'|'.join(SPLITS)})(?=[-_./]|$)")


def by_split(files: pa.Table, where: str) -> dict[str, pa.Table]:
    """`files` (`origin.FILES`) by split, without those of "test", which have no labels; all are "train" if none says.

    Raises `ValueError` where some say and others do not.
    """
    words = [WORD.findall(name) for name in files["name"].to_pylist()]
    splits = pa.array([SPLITS[found[-1]] if found else "" for found in words], pa.string())
    names = sorted(set(splits.to_pylist()))
    if names == [""]:
        return {"train": files}
    if "" in names:
        odd = files["name"][splits.index("").as_py()].as_py()
        raise ValueError(
            f"{where} has files of {' and '.join(names[1:])} beside {odd}, whose name says neither train nor val: name "
            "those that you mean, with a pattern such as 'DIR/train-*'"
        )
    found = {split: files.filter(pc.equal(splits, split)) for split in ("train", "val") if split in names}
    if not found:
        raise ValueError(f"{where} has nothing but a test split, which has no labels")
    return found
