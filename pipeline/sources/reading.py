"""How a source is to be read where it does not tell by itself: what every refusal of a source names as its cure."""

from dataclasses import dataclass
from typing import Literal

from imagefeed.pipeline.sources.split_names import SPLITS


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a source is to be read."""

    splits: tuple[str, ...] = ()
    """Take these splits only, such as train,val; by default all that have labels."""
    label: str | None = None
    """Column of the labels, where it is not called label or cls, or several could be meant: of Parquet, Arrow, MDS or
    LitData, of a list with named columns, or of the member json of a tar's samples; a feature of TFRecord, such as
    image/class/label."""
    image: str | None = None
    """Column of the images, where it is not the only one: of Parquet, Arrow, MDS or LitData, or of the paths in a list
    with named columns; a feature of TFRecord, such as image/encoded; in a tar the suffix of the images, such as
    input.jpg."""
    class_folders: Literal["auto", "all"] = "auto"
    """Class folders: auto finds splits among them and refuses what is in doubt; all takes each folder in SOURCE as
    one class, whatever it is called and holds."""
    one_class: bool = False
    """Take a source that has one class only, which is else refused."""
    first_label: int | None = None
    """Number of the first class, where labels are numbers: 1 where they are counted from 1; 0 where they are counted
    from 0 and no image is of class 0."""

    def __post_init__(self) -> None:
        splits = tuple(name for each in self.splits for name in each.split(","))
        if unknown := [name for name in splits if name.lower() not in SPLITS]:
            raise ValueError(f"split {unknown[0]!r}: choose among train, val and test")
        object.__setattr__(self, "splits", tuple(dict.fromkeys(SPLITS[name.lower()] for name in splits)))
        if self.first_label not in (None, 0, 1):
            raise ValueError(f"first label {self.first_label}: choose 0 or 1")
