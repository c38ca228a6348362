"""The doubts about a source for people: a line a kind, and a page with the images side by side."""

import base64
import html
import io
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from imagefeed.pipeline.checks.audit import KINDS
from imagefeed.pipeline.files.atomic import atomic, write_atomically
from imagefeed.pipeline.image.pillow import BadImage, load_rgb
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.reader import read_rows

TABLE, PAGE = "doubts.parquet", "doubts.html"
MOST_SHOWN = 40  # groups, or images, of a kind on the page; the table has all
MOST_OF_A_GROUP = 8
THUMBNAIL = 150  # pixels

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1f2328;
  background: #fbfaf7 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse } td, th { padding: .2rem 1rem .2rem 0; text-align: left }
td.number, th.number { text-align: right }
.group { display: flex; flex-wrap: wrap; gap: .8rem; padding: .7rem 0; border-top: 1px solid #e3e0d8 }
figure { margin: 0; width: 150px; font-size: 12px; line-height: 1.35; overflow-wrap: anywhere }
img { display: block; max-width: 150px; max-height: 150px } .leak { color: #b42318; font-weight: 600 }
"""


def write_report(source: Source, doubts: pa.Table, out: Path) -> None:
    """Writes the table and the page of `doubts` (`doubts.SCHEMA`) about `source` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / TABLE) as path:
        pq.write_table(doubts, path)
    write_atomically(out / PAGE, page(source, doubts).encode())


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


def page(source: Source, doubts: pa.Table) -> str:
    """The page, HTML in one file."""
    counts = "".join(
        f"<tr><td>{kind}</td>" + "".join(f'<td class="number">{number:,}</td>' for number in numbers) + "</tr>"
        for kind, *numbers in summary(doubts)
    )
    images, name = sum(len(table) for table in source.splits.values()), html.escape(str(source.root))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Doubts about {name}</title>'
        f"<style>{STYLE}</style><h1>Doubts about {name}</h1>"
        f"<p>{images:,} images in {', '.join(source.splits)}. Nothing was changed; {TABLE} lists all that is counted "
        "here. An image may be of several kinds.</p><table><tr><th>kind</th><th class='number'>images</th>"
        "<th class='number'>groups</th><th class='number'>across splits</th><th class='number'>of several classes</th>"
        f"</tr>{counts}</table>{''.join(sections(source, doubts))}</html>\n"
    )


def sections(source: Source, doubts: pa.Table) -> Iterator[str]:
    """A section a kind: groups that reach over splits come first."""
    for kind, rows in groupby(doubts.to_pylist(), key=lambda row: row["kind"]):
        together: dict[object, list[dict]] = {}
        for place, row in enumerate(rows):
            together.setdefault(row["group"] if row["group"] >= 0 else (place,), []).append(row)
        ranked = sorted(together.values(), key=lambda group: (not group[0]["across"], not group[0]["labels_differ"]))
        shown = ranked[:MOST_SHOWN]
        left = f" (the first {len(shown)} of {len(ranked):,})" if len(shown) < len(ranked) else ""
        yield f"<h2>{kind}{left}</h2>"
        if kind in ("identical", "near"):
            for group in shown:
                yield f'<div class="group">{"".join(figure(source, row) for row in group[:MOST_OF_A_GROUP])}</div>'
        else:
            yield f'<div class="group">{"".join(figure(source, group[0]) for group in shown)}</div>'


def figure(source: Source, row: dict) -> str:
    """One image with what it is."""
    table = source.splits[row["split"]].slice(row["id"], 1)
    try:
        picture = Image.fromarray(load_rgb(next(iter(read_rows(source.root, table)))))
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=80)
        shown = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    except BadImage:
        shown = html.escape(row["reason"])
    leak = f'<span class="leak">{row["split"]}</span>' if row["across"] else row["split"]
    apart = f", {row['distance']} bits" if row["kind"] == "near" else ""
    return (
        f"<figure>{shown}<figcaption>{leak} {row['id']}{apart}<br>{html.escape(row['key'])}<br>"
        f"{html.escape(row['class'])}, {row['height']}x{row['width']}</figcaption></figure>"
    )
