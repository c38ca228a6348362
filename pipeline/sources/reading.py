"""How a source is to be read where it does not tell by itself: what every refusal of a source names as its cure."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a source is to be read."""

    label: str | None = None
    """Column of the labels, where it is not called label or cls, or several could be meant: of Arrow, MDS, LitData, or
    a feature of TFRecord, such as image/class/label."""
    image: str | None = None
    """Column of the images, where it is not the only one: of Arrow, MDS, LitData, or a feature of TFRecord, such as
    image/encoded."""
    first_label: int | None = None
    """Number of the first class, where labels are numbers: 1 where they are counted from 1; 0 where they are counted
    from 0 and no image is of class 0."""

    def __post_init__(self) -> None:
        if self.first_label not in (None, 0, 1):
            raise ValueError(f"first label {self.first_label}: choose 0 or 1")
