"""What a person should look at before training on a source: duplicates, also across splits, and odd images.

    identical    the same bytes twice (XXH3 and length), within a split or across splits: leakage from train into val
    near         images that look alike, by a perceptual hash (`dhash.py`), with how many bits they differ in
    small        a side shorter than what training wants, so it is enlarged
    extreme      a side several times as long as the other, of which the central square shows little
    flat         next to no contrast
    unusable     does not decode

Everything is reported and nothing is deleted, and whether two pictures of one lake are a fault is for a person to say.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.checks.chunks import measure_table
from imagefeed.pipeline.checks.dhash import FLAT, MOST_DIFFERENT, bits_apart, difference_hash, group_near
from imagefeed.pipeline.image.jpeg.codec import JpegCodec
from imagefeed.pipeline.image.pillow import load_rgb
from imagefeed.pipeline.image.stored import MOST_PIXELS
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.runtime.executors import Executor, run_here
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.reader import read_rows

FOUND = np.dtype([("digest", "u8"), ("hash", "u8", 2), ("height", "i4"), ("width", "i4"), ("span", "i4")])
KINDS = ("identical", "near", "small", "extreme", "flat", "unusable")
SCHEMA = pa.schema(
    [
        ("kind", pa.string()),  # one of KINDS
        ("group", pa.int64()),  # images of one group belong together; -1 for a kind that has none
        ("across", pa.bool_()),  # the group reaches over splits
        ("labels_differ", pa.bool_()),  # the group has several classes
        ("distance", pa.int32()),  # bits, from the group's first image
        ("split", pa.string()),
        ("id", pa.int64()),
        ("key", pa.string()),
        ("class", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("file", pa.string()),  # where the source holds it
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("reason", pa.string()),  # of what does not decode
    ]
)
NAMED = ("split", "id", "key", "class", "file", "offset", "size")  # what the source says of an image


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What counts as doubtful."""

    near: int = 4
    """Bits of 128, 0 to 7, that hashes of images that look alike may differ in."""
    smaller_than: int = 256
    """Pixels: images with a shorter side are small."""
    longer_than: float = 3.0
    """Images whose longer side is more than this many times the shorter one are extreme."""

    def __post_init__(self) -> None:
        if not 0 <= self.near <= MOST_DIFFERENT:
            raise ValueError(f"near {self.near}: choose 0 to {MOST_DIFFERENT} bits")


def audit(source: Source, options: AuditOptions = AuditOptions(), run: Executor = run_here) -> pa.Table:
    """The doubts about `source`, a table of `SCHEMA`, by kind, then group, then split and id."""
    rows = rows_of_all_splits(source)
    seen = measure_table(rows, lambda _: partial(read_rows, source.root), AuditMeasure, FOUND, "looking", run)
    return report(rows, seen.found, seen.faults, options)


def rows_of_all_splits(source: Source) -> pa.Table:
    """The rows of all splits, one behind the other, with split, id and the name of the class."""
    names, tables = pa.array([each.wnid for each in source.classes]), []
    for split, table in source.splits.items():
        table = table.append_column("class", names.take(table["label"]))
        table = table.append_column("split", pa.array([split]).take(pa.array(np.zeros(len(table), np.int64))))
        tables.append(table.append_column("id", pa.array(np.arange(len(table)))))
    return pa.concat_tables(tables).combine_chunks()


class AuditMeasure:
    """Hashes the bytes and the pixels of image files."""

    def __init__(self) -> None:
        self._jpeg = JpegCodec()

    def __call__(self, data: bytes, row: dict, found: np.void) -> None:
        found["digest"] = xxh3_64(np.frombuffer(data, np.uint8))
        image = self._jpeg.decode(data, MOST_PIXELS)
        image = load_rgb(data) if image is None else image
        found["height"], found["width"] = image.shape[:2]
        found["span"] = difference_hash(image, found["hash"])

    def total(self) -> int:
        """Nothing is summed up."""
        return 0


def report(rows: pa.Table, found: np.ndarray, reasons: dict[int, str], options: AuditOptions) -> pa.Table:
    """The doubts, from what was `found` (FOUND [n]) of the source's `rows`."""
    splits, labels = (rows[name].to_numpy(zero_copy_only=False) for name in ("split", "label"))
    usable = found["height"] > 0
    short, long = np.minimum(found["height"], found["width"]), np.maximum(found["height"], found["width"])
    flat = usable & (found["span"] < FLAT)
    identical = first_of_same(np.stack([found["digest"], rows["size"].to_numpy().astype(np.uint64)], axis=1))
    # One image stands for all that are the same to the byte; flat ones all look alike.
    judged = np.flatnonzero(usable & ~flat & (identical == np.arange(len(rows))))
    near = np.arange(len(rows))
    near[judged] = judged[group_near(np.ascontiguousarray(found["hash"][judged]), options.near)]
    doubts: list[dict] = []

    def add(kind: str, places: np.ndarray, group: int = -1) -> None:
        several = {"across": len(set(splits[places])) > 1, "labels_differ": len(set(labels[places])) > 1}
        told = several if group >= 0 else {"across": False, "labels_differ": False}
        for place in places.tolist():
            apart = int(bits_apart(found["hash"][places[0]], found["hash"][place])) if group >= 0 else 0
            size = {"height": int(found["height"][place]), "width": int(found["width"][place])}
            doubts.append({"kind": kind, "group": group, **told, "distance": apart, "row": place, **size})

    for kind, firsts in (("identical", identical), ("near", near)):
        for number, places in enumerate(groups(firsts)):
            add(kind, places, number)
    for kind, which in (
        ("small", usable & (short < options.smaller_than)),
        ("extreme", usable & (long > options.longer_than * short)),
        ("flat", flat),
        ("unusable", ~usable),
    ):
        add(kind, np.flatnonzero(which))
    where = [doubt.pop("row") for doubt in doubts]
    named = rows.take(pa.array(where, pa.int64())).to_pylist()
    return pa.Table.from_pylist(
        [
            {**doubt, **{name: row[name] for name in NAMED}, "reason": reasons.get(place, "")}
            for doubt, row, place in zip(doubts, named, where, strict=True)
        ],
        SCHEMA,
    )


def first_of_same(values: np.ndarray) -> np.ndarray:
    """For each row (uint64 [n, k]) the first row that is the same, int64 [n]."""
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    return first[inverse.reshape(-1)]


def groups(firsts: np.ndarray) -> Iterator[np.ndarray]:
    """The groups of two or more, each the sorted places of its members, from the first member of each (int64 [n])."""
    order = np.argsort(firsts, kind="stable")
    starts = np.flatnonzero(np.diff(firsts[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        if len(members) > 1:
            yield members
