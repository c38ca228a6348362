"""The training curves of one run or of several over one another, from the points of report.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil, floor, log10
from typing import Any

from imagefeed.jobs.report.schema import Curves, ValPoint
from imagefeed.jobs.report.vega import INK, Chart, Spec, TooltipField, chart, coloured, nearest, quantity, tooltip_of

Row = dict[str, Any]  # of a chart: a point's figures by name, and what it is a point of
Runs = Mapping[str, Curves]  # by the run's name

EPOCH = quantity("epoch", "epoch", axis={"tickMinStep": 1, "format": "d", "grid": False})


def training_charts(runs: Runs, chance: float) -> list[Chart]:
    """Loss, error, rate, speed and time waiting for data; no charts without points.

    `chance` is the top-1 error of guessing, 0 to 1.
    """
    runs = {name: curves for name, curves in runs.items() if curves.val}
    if not runs:
        return []
    charts = [loss_chart(runs), error_chart(runs, chance)]
    for figure, title, axis, scale in (
        ("lr", "Rate", {"title": "learning rate", "axis": rate_axis(runs)}, {"type": "log"}),
        ("images_per_second", "Speed", {"title": "images a second"}, {"zero": True}),
        ("waiting", "Waiting for data", {"title": "share of the time", "axis": {"format": "%"}}, {"domain": [0, 1]}),
    ):
        if all(getattr(point, figure) is not None for curves in runs.values() for point in curves.train):
            charts.append(figure_chart(runs, figure, title, {**axis, "scale": scale}))
    return charts


def rows_of(runs: Runs, split: str, *figures: str) -> list[Row]:
    """The points of a split, of all runs, with the name of their run and of their split."""
    named = {"train": "training", "val": "validation"}[split]
    return [
        {"run": run, "split": named, "epoch": point["epoch"]} | {name: point[name] for name in figures}
        for run, curves in runs.items()
        for point in asdict(curves)[split]
    ]


def lines(y: Spec, colour: Spec, tooltip: Sequence[TooltipField], **dash: Spec) -> Spec:
    """Layers of lines and of the point at the pointer. A click on the legend leaves one line."""
    pick = {"name": "pick", "select": {"type": "point", "fields": [colour["field"]]}, "bind": "legend"}
    opacity = {"condition": {"param": "pick", "value": 1}, "value": 0.12}
    line = {
        "params": [pick],
        "mark": {"type": "line", "strokeWidth": 2, "strokeJoin": "round", "interpolate": "linear"},
        "encoding": {"y": y, "opacity": opacity, **dash},
    }
    return {"encoding": {"x": EPOCH, "color": colour}, "layer": [line, nearest(y, *tooltip)]}


def loss_chart(runs: Runs) -> Chart:
    """Training and validation loss; behind the training loss of a single run what its points are the mean of."""
    rows = rows_of(runs, "train", "loss", "loss_low", "loss_high") + rows_of(runs, "val", "loss")
    tooltip = (*run_name(runs), ("split", "loss"), ("epoch", "epoch", ".1f"), ("loss", "nats", ".3f"))
    y = quantity("loss", "loss, nats", scale={"zero": False})
    if len(runs) > 1:
        of = lines(y, coloured("run", list(runs)), tooltip, strokeDash=dashes("split", "validation", "training"))
    else:
        of = lines(y, coloured("split", ["training", "validation"]), tooltip)
        band = {"y": {**y, "field": "loss_low"}, "y2": {"field": "loss_high"}, "opacity": {"value": 0.2}}
        of["layer"].insert(0, {"mark": {"type": "area"}, "encoding": band})
    return chart("loss", "Loss", f"Loss: {ends(runs, 'loss', '{:.2f} nats')}.", rows, **of)


def error_chart(runs: Runs, chance: float) -> Chart:
    """Top-1 and top-5 error of the validation, beside what guessing gives."""
    rows = [
        {**row, "error": row[f"top{k}_error"], "top": f"top-{k}"}
        for k in (1, 5)
        for row in rows_of(runs, "val", f"top{k}_error")
    ]
    tooltip = (*run_name(runs), ("top", "error"), ("epoch", "epoch", ".0f"), ("error", "share", ".1%"))
    y = quantity("error", "validation error", scale={"domain": [0, 1]}, axis={"format": "%"})
    if len(runs) > 1:
        of = lines(y, coloured("run", list(runs)), tooltip, strokeDash=dashes("top", "top-1", "top-5"))
    else:
        of = lines(y, coloured("top", ["top-1", "top-5"]), tooltip)
    guess = {"values": [{"chance": chance, "label": "top-1 by chance"}]}
    level = {"y": quantity("chance"), "tooltip": tooltip_of(("label", "guessing"), ("chance", "error", ".1%"))}
    rule = {"data": guess, "mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]}, "encoding": level}
    # Apart from the lines: what all of these have in common, an epoch and a colour, the rule has not.
    of = {"layer": [rule, of]}
    return chart("error", "Error", f"Validation error: top-1 {ends(runs, 'top1_error', '{:.1%}')}.", rows, **of)


def figure_chart(runs: Runs, figure: str, title: str, axis: Spec) -> Chart:
    """One figure of the training, a line a run."""
    style = ".3g" if figure != "waiting" else ".1%"
    tooltip = (*run_name(runs), ("epoch", "epoch", ".1f"), (figure, axis["title"], style))
    colour: Spec = coloured("run", list(runs))
    if len(runs) == 1:
        colour["legend"] = None
    of = lines(quantity(figure, **axis), colour, tooltip)
    if len(runs) == 1:  # no legend to click on
        del of["layer"][0]["params"], of["layer"][0]["encoding"]["opacity"]
    text = "; ".join(
        f"{name}: {min(values):.3g} to {max(values):.3g}"
        if len(runs) > 1
        else f"{min(values):.3g} to {max(values):.3g}"
        for name, curves in runs.items()
        if (values := [getattr(point, figure) for point in curves.train])
    )
    return chart(
        figure.replace("_", "-"),
        title,
        f"{title} over the epochs, {text}.",
        rows_of(runs, "train", figure),
        height=160,
        **of,
    )


def rate_axis(runs: Runs) -> Spec:
    """The axis of the rates: powers of ten, where there are two or more between the least and the greatest."""
    rates = [point.lr for curves in runs.values() for point in curves.train if point.lr]
    axis: Spec = {"tickCount": 3, "format": "~g"}
    if rates:
        least, most = ceil(log10(min(rates)) - 1e-9), floor(log10(max(rates)) + 1e-9)  # which rounding may have moved
        if least < most:
            axis["values"] = [10.0**power for power in range(least, most + 1)]
    return axis


def dashes(field: str, solid: str, dashed: str) -> Spec:
    """An encoding of a field of two values by the kind of line."""
    scale = {"domain": [solid, dashed], "range": [[1, 0], [3, 3]]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": {"symbolStrokeColor": INK}}


def run_name(runs: Runs) -> list[TooltipField]:
    """What a tooltip says of the run, where there are several."""
    return [("run", "run")] if len(runs) > 1 else []


def ends(runs: Runs, figure: str, form: str) -> str:
    """Where the validations begin and end, in words."""

    def one(name: str, val: tuple[ValPoint, ...]) -> str:
        first, last = (form.format(getattr(val[i], figure)) for i in (0, -1))
        return f"{f'{name} ' if len(runs) > 1 else ''}from {first} to {last} over {val[-1].epoch} epochs"

    return ", ".join(one(name, curves.val) for name, curves in runs.items())
