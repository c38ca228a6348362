"""`doubts.html` of an audit: the counts of each kind, and the images side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from imagefeed.jobs.report.html import page
from imagefeed.jobs.report.pictures import data_url, thumbnail

PAGE = "doubts.html"
MOST_SHOWN = 40  # groups, or images, of a kind on the page; the table has all
MOST_OF_A_GROUP = 8
THUMBNAIL = 150  # pixels, the longer side

Row = dict[str, Any]  # a doubt: a row of `audit.SCHEMA`


@dataclass(frozen=True, kw_only=True)
class AuditInputs:
    """All that the page shows."""

    name: str  # of the source
    num_images: Mapping[str, int]  # by split
    counts: Sequence[tuple[str, int, int, int, int]]  # as `audit_results.summary` has them
    doubts: pa.Table  # `audit.SCHEMA`
    image_of: Callable[[str, int], np.ndarray | None]  # a split and an id -> uint8 [H, W, 3]; None: it does not decode


@dataclass(frozen=True, kw_only=True)
class Section:
    """The doubts of one kind that are shown; of a kind without groups each image is one."""

    kind: str
    groups: list[list[Row]]
    num_groups: int  # of all

    @property
    def has_groups(self) -> bool:
        """Whether images of this kind belong together."""
        return self.groups[0][0]["group"] >= 0


def render_audit(inputs: AuditInputs) -> str:
    """The page. The same inputs give the same characters. Each image is asked for once it is needed."""
    shown = sections(inputs.doubts)
    rows = {(row["split"], row["id"]) for section in shown for group in section.groups for row in group}
    pictures = {}
    for split, number in sorted(rows):
        image = inputs.image_of(split, number)
        pictures[split, number] = None if image is None else data_url(thumbnail(image, THUMBNAIL))
    return page("audit.html.j2", charts=[], inputs=inputs, sections=shown, pictures=pictures)


def sections(doubts: pa.Table) -> list[Section]:
    """A section a kind, in the order of the table; groups that reach over splits come first, then those of several
    classes."""
    found = []
    for kind, rows in groupby(doubts.to_pylist(), key=lambda row: row["kind"]):
        together: dict[tuple[int, int], list[Row]] = {}
        for place, row in enumerate(rows):
            together.setdefault((row["group"], 0 if row["group"] >= 0 else place), []).append(row)
        ranked = sorted(together.values(), key=lambda group: (not group[0]["across"], not group[0]["labels_differ"]))
        groups = [group[:MOST_OF_A_GROUP] for group in ranked[:MOST_SHOWN]]
        found.append(Section(kind=kind, groups=groups, num_groups=len(ranked)))
    return found
