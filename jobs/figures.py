"""The report's pictures: training curves as SVG that takes on the page's colours, kernels and images as data
URLs.

Nothing here depends on the clock or on random names: the same inputs give the same characters.
"""

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import RcKeyType
from PIL import Image

# Matplotlib has no notion of a page's theme: it draws in these stand-in colours, each of which becomes a CSS
# variable.
INK, FAINT, FIRST, SECOND = "#010101", "#020202", "#030303", "#040404"
CSS_COLOUR = {INK: "var(--ink)", FAINT: "var(--faint)", FIRST: "var(--first)", SECOND: "var(--second)"}

STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and has the page's font
    "svg.hashsalt": "imagefeed",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
}

Record = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """A drawn chart: inline SVG, and what it shows in words."""

    title: str
    svg: str
    description: str


def training_curves(records: Sequence[Record], chance: float) -> list[Chart]:
    """Loss and error over a training run, from the lines of its `metrics.jsonl`; no charts without such
    lines.

    `chance` is the top-1 error of guessing, 0 to 1. A run that was resumed has written some steps twice: the
    last line of a step counts.
    """
    train = by_step(records, "train")
    val = by_step(records, "val")
    if not val:
        return []
    epochs_per_step = val[-1]["epoch"] / val[-1]["step"]

    def epochs(rows: Sequence[Record]) -> np.ndarray:
        return np.array([row["step"] for row in rows]) * epochs_per_step

    def draw_loss(axes: Axes) -> None:
        losses = np.array([row["loss"] for row in train])
        axes.plot(epochs(train), losses, color=FIRST, alpha=0.25, linewidth=0.8)
        axes.plot(epochs(train), smoothed(losses), color=FIRST, label="training")
        axes.plot(
            epochs(val),
            [row["loss"] for row in val],
            color=SECOND,
            marker="o",
            markersize=3,
            label="validation",
        )
        axes.set_ylabel("loss, nats")
        epoch_axis(axes)

    def draw_error(axes: Axes) -> None:
        for name, colour in (("top1", FIRST), ("top5", SECOND)):
            percent = [100 * row[f"{name}_error"] for row in val]
            axes.plot(epochs(val), percent, color=colour, marker="o", markersize=3, label=f"top-{name[-1]}")
        axes.axhline(100 * chance, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="top-1 by chance")
        axes.set_ylabel("validation error, %")
        axes.set_ylim(-2, 104)  # no marker at 0 is cut in half
        epoch_axis(axes)

    last = val[-1]
    return [
        Chart(
            "Loss",
            svg("loss", draw_loss),
            f"Loss over {last['epoch']} epochs: the validation loss goes from {val[0]['loss']:.2f} "
            f"to {last['loss']:.2f} nats.",
        ),
        Chart(
            "Error",
            svg("error", draw_error),
            f"Validation error over {last['epoch']} epochs: top-1 goes from {val[0]['top1_error']:.1%} to "
            f"{last['top1_error']:.1%}, top-5 from {val[0]['top5_error']:.1%} to {last['top5_error']:.1%}.",
        ),
    ]


def reliability_diagram(calibration: dict[str, Any]) -> Chart:
    """How often the net is right where it is how sure, from `jobs.analyses.calibration`; the larger a dot, the more
    samples it stands for."""
    bins = calibration["bins"]
    totals = np.array([row["total"] for row in bins])
    sure, right = (100 * np.array([row[name] for row in bins]) for name in ("probability", "accuracy"))

    def draw(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="as sure as right")
        axes.vlines(sure, sure, right, color=SECOND, linewidth=1.6, label="gap")
        axes.scatter(sure, right, s=12 + 90 * totals / totals.max(), color=FIRST, zorder=3)
        axes.set(xlabel="probability of the likeliest class, %", ylabel="right, %", xlim=(-4, 104), ylim=(-4, 104))

    return Chart(
        "Sure and right",
        svg("reliability", draw),
        f"Reliability diagram of {totals.sum()} samples in {len(bins)} bins: the expected calibration error is "
        f"{calibration['ece']:.1%}.",
    )


def epoch_axis(axes: Axes) -> None:
    """The x axis of a training curve."""
    axes.set_xlabel("epoch")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def by_step(records: Sequence[Record], kind: str) -> list[Record]:
    """The last record of each step of a kind, in the order of steps."""
    latest = {record["step"]: record for record in records if record["kind"] == kind}
    return [latest[step] for step in sorted(latest)]


def smoothed(values: np.ndarray) -> np.ndarray:
    """A centred moving average over a fortieth of the run; at the ends, over what there is of it."""
    reach = len(values) // 80
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def svg(name: str, draw: Callable[[Axes], None]) -> str:
    """The SVG element of one chart, its ids marked with `name` so that several live in one page."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, columnspacing=1.4)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace("<svg ", '<svg aria-hidden="true" ', 1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for stand_in, colour in CSS_COLOUR.items():
        text = text.replace(stand_in, colour)
    return text


def kernel_grid(kernels: np.ndarray, columns: int = 16) -> np.ndarray:
    """Kernels (float [n, 3, h, w]) as tiles, row by row, one clear pixel between them: uint8 [H, W, 4], RGBA.

    Each kernel is stretched on its own, from its least weight (0) to its greatest (255), over all three
    channels, as in the paper's Figure 3: colours are true within a kernel, sizes are not compared between
    kernels.
    """
    n, _, height, width = kernels.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    low = kernels.min(axis=(1, 2, 3), keepdims=True)
    span = kernels.max(axis=(1, 2, 3), keepdims=True) - low
    levels = np.rint(255 * (kernels - low) / np.where(span > 0, span, 1)).astype(np.uint8)
    grid = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, 4), np.uint8)
    for i, kernel in enumerate(levels):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        grid[y : y + height, x : x + width, :3] = kernel.transpose(1, 2, 0)
        grid[y : y + height, x : x + width, 3] = 255
    return grid


def data_url(image: np.ndarray) -> str:
    """An image (uint8 [H, W, 4] as PNG; [H, W, 3], a photograph, as JPEG) as a URL that holds all of it."""
    kind = {4: "png", 3: "jpeg"}[image.shape[2]]
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=85, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
