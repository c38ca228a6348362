"""Charts for a page: Vega-Lite specifications, drawn once here for who runs no scripts, and again in the page, where
they answer to the pointer.

Colours are names of the page's CSS variables, so that a chart is light, dark or on paper as the page is. Nothing
depends on the clock or on random names: the same rows give the same characters.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

Spec = dict[str, Any]
# A field of text and its title; a field of numbers, its title and its format.
TooltipField = tuple[str, str] | tuple[str, str, str]

VERSION = "6.4"  # of Vega-Lite
STATIC_WIDTH = 400  # pixels, of what is drawn here; in the page a chart is as wide as its place
LEGEND_WIDTH = 200  # pixels, which even one of three charts in a row has
COLOURS = ("var(--first)", "var(--second)", "var(--third)", "var(--fourth)")
INK, SOFT, FAINT = "var(--ink)", "var(--soft)", "var(--faint)"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'

CONFIG: Spec = {
    "font": FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": FAINT,
        "domainColor": FAINT,
        "ticks": False,
        "labelPadding": 6,
        "titlePadding": 8,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridWidth": 0.6,
        "tickCount": 6,
    },
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": INK,
        "labelFontSize": 12,
        "symbolStrokeWidth": 2.5,
        "symbolOpacity": 1,
        "offset": 6,
        "columnPadding": 14,
        "layout": {"top": {"direction": "vertical", "anchor": "start", "margin": 2}},  # one below the other: they fit
    },
}


@dataclass(frozen=True)
class Chart:
    """A chart and what it shows in words. `name` is its own within a page."""

    name: str
    title: str
    spec: Spec
    description: str


def chart(
    name: str, title: str, description: str, rows: Sequence[Mapping[str, Any]], *, height: int = 220, **of: Any
) -> Chart:
    """A chart of `rows`; `of` is the rest of its specification: mark and encoding, or layers."""
    spec = {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{VERSION.split('.')[0]}.json",
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(rows)},
        "config": CONFIG,
        **of,
    }
    return Chart(name, title, spec, description)


def static_svg(chart: Chart) -> str:
    """The SVG element of a chart as it stands still, its ids marked with its name so that several live in one page."""
    import vl_convert  # here: a page without charts, such as that of an audit, needs it not

    text = vl_convert.vegalite_to_svg({**chart.spec, "width": STATIC_WIDTH}, vl_version=VERSION)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{chart.name}-", text)
    return text.replace("<svg ", '<svg aria-hidden="true" ', 1)


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets `vegaEmbed`; it asks for nothing else."""
    import vl_convert

    return str(vl_convert.javascript_bundle(vl_version=VERSION))  # type: ignore[call-arg]  # the stub asks for more


# Parts of specifications


def quantity(field: str, title: str | None = None, **more: Any) -> Spec:
    """An encoding by a number; options of its axis and scale in `more`."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def tooltip_of(*fields: TooltipField) -> list[Spec]:
    """An encoding of what the tooltip of a mark says."""
    kinds = (
        {"type": "nominal"} if len(field) == 2 else {"type": "quantitative", "format": field[2]} for field in fields
    )
    return [{"field": field[0], "title": field[1], **kind} for field, kind in zip(fields, kinds, strict=True)]


def coloured(field: str, names: Sequence[str]) -> Spec:
    """An encoding of the colour by a field with these values, in the order of the legend, as many a row as fit."""
    entry = 30 + 6.4 * max(map(len, names))  # pixels: the symbol, the name, the gap
    scale = {"domain": list(names), "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]}
    legend = {"columns": max(1, int(LEGEND_WIDTH // entry))}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend}


def nearest(y: Spec, *fields: TooltipField) -> Spec:
    """A layer of points that nobody sees but the one which is nearest to the pointer, with its tooltip.

    It is an expression because Vega-Lite looks for text in the wrong place here: what is under the pointer is not a
    point but the cell around it, whose `datum` is the point.
    """

    def value(name: str, style: str | None = None) -> str:
        field = f"(datum.datum || datum)[{json.dumps(name)}]"
        return f"format({field}, {json.dumps(style)})" if style else field

    lines = ", ".join(f"{json.dumps(field[1])}: {value(field[0], *field[2:])}" for field in fields)
    select = {"type": "point", "nearest": True, "on": "pointerover", "clear": "pointerout"}
    return {
        "params": [{"name": "near", "select": select}],
        "mark": {"type": "point", "filled": True, "size": 70, "strokeWidth": 0, "tooltip": {"expr": f"{{{lines}}}"}},
        "encoding": {"y": y, "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}},
    }
