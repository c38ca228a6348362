"""The charts of an evaluation but for the training curves, each from numbers that stand in report.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from imagefeed.jobs.report.comparison_schema import ClassChange
from imagefeed.jobs.report.schema import Calibration, HistogramBin, PropertyBin
from imagefeed.jobs.report.vega import COLOURS, INK, Chart, Spec, chart, coloured, quantity, tooltip_of

FIRST, SECOND = COLOURS[:2]
COUNTED = (("wrong", "wrong", ",d"), ("total", "of", ",d"))  # behind an error, for the pointer

PROPERTIES = {  # title, of the axis, how it is written
    "bytes": ("Size of the file", "stored bytes", "~s"),
    "pixels": ("Size of the image", "stored pixels", "~s"),
    "brightness": ("Brightness", "mean grey level, 0 to 255", ".0f"),
}


@dataclass(frozen=True, kw_only=True)
class ClassError:
    """The top-1 error within one class."""

    words: str
    wrong: int
    total: int
    error: float


def reliability_diagram(calibration: Calibration) -> Chart:
    """How often the net is right where it is how sure; the larger a dot, the more samples it stands for."""
    x = quantity("probability", "probability of the likeliest class", scale={"domain": [0, 1]}, axis={"format": "%"})
    y = quantity("accuracy", "right", scale={"domain": [0, 1]}, axis={"format": "%"})
    tooltip = tooltip_of(("probability", "as sure as", ".1%"), ("accuracy", "right", ".1%"), ("total", "samples", ",d"))
    diagonal = {
        "data": {"values": [{"probability": 0, "accuracy": 0}, {"probability": 1, "accuracy": 1}]},
        "mark": {"type": "line", "color": INK, "strokeWidth": 1, "strokeDash": [4, 3]},
        "encoding": {"x": x, "y": y},
    }
    gap = {
        "mark": {"type": "rule", "color": SECOND, "strokeWidth": 2},
        "encoding": {"x": x, "y": quantity("probability", "right"), "y2": {"field": "accuracy"}},
    }
    size = {"field": "total", "type": "quantitative", "scale": {"range": [20, 320], "zero": True}, "legend": None}
    dots = {
        "mark": {"type": "circle", "color": FIRST, "opacity": 1},
        "encoding": {"x": x, "y": y, "size": size, "tooltip": tooltip},
    }
    return chart(
        "reliability",
        "Sure and right",
        f"Reliability diagram of {sum(row.total for row in calibration.bins)} samples in {len(calibration.bins)} bins: "
        f"the expected calibration error is {calibration.ece:.1%}.",
        list(map(asdict, calibration.bins)),
        height=280,
        layer=[diagonal, gap, dots],
    )


def class_chart(classes: Sequence[ClassError]) -> Chart:
    """The top-1 error of every class, from the least to the greatest."""
    rows = [{"place": place, **asdict(row)} for place, row in enumerate(classes, start=1)]
    tooltip = tooltip_of(("words", "class"), ("error", "top-1 error", ".1%"), *COUNTED)
    x: Spec = {"field": "place", "type": "ordinal", "title": "classes, by error", "axis": {"labels": False}}
    y = quantity("error", "top-1 error", scale={"domain": [0, 1]}, axis={"format": "%"})
    bars = {"type": "bar", "color": FIRST, "width": {"band": 0.8 if len(rows) <= 100 else 1}}
    return chart(
        "classes-by-error",
        "Every class",
        f"Top-1 error of {len(rows)} classes, from {classes[0].error:.1%} to {classes[-1].error:.1%}.",
        rows,
        mark=bars,
        encoding={"x": x, "y": y, "tooltip": tooltip},
    )


def property_chart(name: str, bins: Sequence[PropertyBin]) -> Chart:
    """The top-1 error by one property of the images, with its intervals."""
    title, axis, form = PROPERTIES[name]
    x = quantity(
        "mean", axis, scale={"zero": False, "nice": False, "padding": 12}, axis={"format": form, "grid": False}
    )
    y = quantity("error", "top-1 error", scale={"zero": True}, axis={"format": "%"})
    tooltip = tooltip_of(("low", "from", form), ("high", "to", form), ("error", "top-1 error", ".1%"), *COUNTED)
    interval = {
        "mark": {"type": "rule", "color": FIRST, "opacity": 0.45, "strokeWidth": 5, "strokeCap": "round"},
        "encoding": {"x": x, "y": {**y, "field": "error_low"}, "y2": {"field": "error_high"}, "tooltip": tooltip},
    }
    line = {"mark": {"type": "line", "color": FIRST, "strokeWidth": 1.5}, "encoding": {"x": x, "y": y}}
    dots = {
        "mark": {"type": "circle", "color": FIRST, "size": 70, "opacity": 1},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }
    low, high = bins[0], bins[-1]
    return chart(
        f"by-{name}",
        title,
        f"Top-1 error by {axis}: {low.error:.1%} where they are least, {high.error:.1%} where they are greatest.",
        list(map(asdict, bins)),
        height=180,
        layer=[interval, line, dots],
    )


def count_chart(counts: Mapping[str, Sequence[int]], words: Sequence[str]) -> Chart:
    """Images a class of each split, the classes that have most first."""
    rows = [
        {"split": split, "place": place, "words": words[label], "images": images}
        for split, of in counts.items()
        for place, (label, images) in enumerate(sorted(enumerate(of), key=lambda each: -each[1]), start=1)
    ]
    tooltip = tooltip_of(("split", "split"), ("words", "class"), ("images", "images", ",d"))
    x = quantity(
        "place", "classes, by images", scale={"domainMin": 1, "nice": False}, axis={"format": "d", "grid": False}
    )
    return chart(
        "images-a-class",
        "Images a class",
        "Images a class: " + ", ".join(f"{split} {min(of)} to {max(of)}" for split, of in counts.items()) + ".",
        rows,
        height=180,
        mark={"type": "line", "interpolate": "step", "strokeWidth": 2, "point": {"size": 12}},
        encoding={
            "x": x,
            "y": quantity("images", "images"),
            "color": coloured("split", list(counts)),
            "tooltip": tooltip,
        },
    )


def histogram_chart(histograms: Mapping[str, Sequence[HistogramBin]]) -> Chart:
    """How large the stored files are, as shares of each split; from `data_summary.histogram`."""
    rows = [{"split": split, **asdict(row)} for split, of in histograms.items() for row in of]
    sizes = (("low", "from, bytes", "~s"), ("high", "to", "~s"))
    tooltip = tooltip_of(("split", "split"), *sizes, ("total", "images", ",d"), ("share", "share", ".1%"))
    x = quantity(
        "low",
        "bytes of a stored file",
        axis={"format": "~s", "grid": False, "tickCount": 4},
        scale={"zero": False, "nice": False},
    )
    return chart(
        "bytes-an-image",
        "Bytes an image",
        f"Sizes of the stored files: {rows[0]['low']:,.0f} to {rows[-1]['high']:,.0f} bytes.",
        rows,
        height=180,
        mark={"type": "area", "interpolate": "step-after", "line": True, "opacity": 0.35},
        encoding={
            "x": x,
            "y": quantity("share", "share of the images", axis={"format": "%"}, stack=None),
            "color": coloured("split", list(histograms)),
            "tooltip": tooltip,
        },
    )


def class_difference_chart(changes: Sequence[ClassChange]) -> Chart:
    """How the top-1 error of every class differs between A and B."""
    rows = [{"place": place, **asdict(row)} for place, row in enumerate(changes, start=1)]
    tooltip = tooltip_of(
        ("words", "class"), ("A", "A", ".1%"), ("B", "B", ".1%"), ("change", "B less A", "+.1%"), ("total", "of", ",d")
    )
    x: Spec = {"field": "place", "type": "ordinal", "title": "classes, by change", "axis": {"labels": False}}
    colour = {"condition": {"test": "datum.change > 0", "value": SECOND}, "value": FIRST}
    return chart(
        "class-changes",
        "Every class",
        f"Top-1 error of B less that of A, of {len(rows)} classes: from {changes[0].change:+.1%} to "
        f"{changes[-1].change:+.1%}.",
        rows,
        mark={"type": "bar", "width": {"band": 0.8 if len(rows) <= 100 else 1}},
        encoding={
            "x": x,
            "y": quantity("change", "error of B less A", axis={"format": "+%"}),
            "color": colour,
            "tooltip": tooltip,
        },
    )
