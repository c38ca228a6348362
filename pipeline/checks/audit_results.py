"""What an audit found: its counts, its table on disk, and the images that a person should look at."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagefeed.pipeline.checks.audit import KINDS
from imagefeed.pipeline.files.atomic import atomic
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.reader import read_rows

TABLE = "doubts.parquet"


def summary(doubts: pa.Table) -> list[tuple[str, int, int, int, int]]:
    """Of each kind: images, groups, groups across splits, groups of several classes."""
    lines = []
    for kind in KINDS:
        of_kind = doubts.filter(pc.equal(doubts["kind"], kind))
        group = of_kind["group"].to_numpy()
        counts = [
            len(np.unique(group[(group >= 0) & of_kind[name].to_numpy(zero_copy_only=False)]))
            for name in ("across", "labels_differ")
        ]
        lines.append((kind, len(of_kind), len(np.unique(group[group >= 0])), counts[0], counts[1]))
    return lines


def write_table(doubts: pa.Table, out: Path) -> None:
    """Writes the doubts (`audit.SCHEMA`) to the folder `out`, which is made if it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / TABLE) as path:
        pq.write_table(doubts, path)


def image_of(source: Source, split: str, number: int) -> np.ndarray | None:
    """The image with id `number` of a split, uint8 [H, W, 3]; None where it does not decode."""
    try:
        return load_rgb(next(iter(read_rows(source.root, source.splits[split].slice(number, 1)))))
    except BadImage:
        return None
