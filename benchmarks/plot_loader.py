"""The last run of `bench_loader` as a plot and as tables: a function of its file of results alone.

    python -m benchmarks.plot_loader benchmarks/results/FILE docs/images/loaders.svg

The tables go to standard output, in Markdown.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OUTPUTS = {"float32 NCHW": "fp32 NCHW", "float16 NHWC": "fp16 NHWC", "uint8 NHWC": "uint8 NHWC"}
TITLES = {
    "codec": "bare libjpeg-turbo decode",
    "memory": "bare copy",
    "imagefeed": "imagefeed",
    "turbojpeg": "imagefeed, libjpeg-turbo",
    "hybrid": "imagefeed in FFCV's loop",
    "ffcv": "FFCV",
    "dali": "DALI (CPU)",
    "torch": "torch DataLoader",
    "webdataset": "WebDataset",
    "litdata": "LitData",
    "grain": "Grain",
    "spdl": "SPDL",
}
LIMITS = ("codec", "memory")  # no loaders
OURS, THEIRS, ONE = "#0b5cad", "#9aa5b1", "#5b6672"
Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PlotConfig:
    """What to draw."""

    results: tyro.conf.Positional[Path]
    """A file that `bench_loader` has written."""
    out: tyro.conf.Positional[Path]
    """The picture, SVG or PNG."""


def last_run(results: Path) -> list[Line]:
    """The lines of the run that began last."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    last = max(line["run"] for line in lines)
    return [line for line in lines if line["run"] == last]


def lines_of(lines: list[Line], stored: str, output: str, threads: int) -> dict[str, Line]:
    """The line of each contender that gave `output` from `stored`; the bare codec stands beside every output."""
    return {
        line["name"]: line
        for line in lines
        if line["stored"] == stored
        and line["threads"] == threads
        and (f"{line['dtype']} {line['layout']}" == output or line["name"] == "codec")
    }


def draw(lines: list[Line], out: Path) -> None:
    """Bars of the medians, whiskers from the slowest to the fastest epoch, a line where the limit is."""
    threads = sorted({line["threads"] for line in lines})
    matplotlib.rcParams.update({"font.size": 9, "svg.hashsalt": "imagefeed", "svg.fonttype": "none"})
    stored = [kind for kind in ("jpeg", "raw") if any(line["stored"] == kind for line in lines)]
    heights = [len({line["name"] for line in lines if line["stored"] == kind} - set(LIMITS)) for kind in stored]
    figure = Figure(figsize=(10, 1.6 + 0.42 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(stored), 3, squeeze=False, gridspec_kw={"height_ratios": [h + 0.8 for h in heights]})
    for row, kind in zip(axes, stored, strict=True):
        names = order(lines, kind, threads[-1])
        most = max(line["median"] for line in lines if line["stored"] == kind)
        for axis, (output, title) in zip(row, OUTPUTS.items(), strict=True):
            panel(axis, lines, kind, output, names, threads)
            axis.set_title(f"{'JPEG' if kind == 'jpeg' else 'raw pixels'} to {title}", fontsize=9)
            axis.set_xlim(0, 1.12 * most)
            axis.tick_params(labelleft=axis is row[0])
    line = lines[0]
    figure.supxlabel(
        f"images a second: {' and '.join(map(str, threads))} threads or workers (light, dark), "
        f"{line['cores']} cores, {line['processor']}; median, slowest and fastest epoch",
        fontsize=8,
    )
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


def order(lines: list[Line], stored: str, threads: int) -> list[str]:
    """The loaders, the fastest last (which is drawn at the top)."""
    best: dict[str, float] = {}
    for line in lines:
        if line["stored"] == stored and line["threads"] == threads and line["name"] not in LIMITS:
            best[line["name"]] = max(best.get(line["name"], 0), line["median"])
    return sorted(best, key=best.__getitem__)


def panel(axis: Axes, lines: list[Line], stored: str, output: str, names: list[str], threads: list[int]) -> None:
    """One kind of output."""
    height = 0.8 / len(threads)
    for place, count in enumerate(threads):
        found = lines_of(lines, stored, output, count)
        for y, name in enumerate(names):
            if name not in found:
                continue
            middle, rates = found[name]["median"], found[name]["counted"]
            offset = y + 0.4 - height * (place + 0.5)
            strong = is_most(place, threads)
            axis.barh(
                offset, middle, height, color=OURS if name == "imagefeed" else THEIRS, alpha=1 if strong else 0.45
            )
            axis.plot([min(rates), max(rates)], [offset, offset], color="black", linewidth=0.8)
            if strong:
                axis.text(max(rates), offset, f" {middle:,.0f}", va="center", fontsize=8)
        for limit in LIMITS:
            if limit in found:
                rate, text = found[limit]["median"], TITLES[limit] + " "
                axis.axvline(rate, color=ONE, linewidth=1, linestyle="--" if is_most(place, threads) else ":")
                if is_most(place, threads):
                    axis.text(rate, len(names) - 0.45, text, ha="right", va="bottom", fontsize=7, color=ONE)
    axis.set_yticks(range(len(names)), [TITLES[name] for name in names])
    axis.set_ylim(-0.6, len(names) - 0.1)
    axis.spines[["top", "right"]].set_visible(False)
    axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
    axis.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))


def is_most(place: int, threads: list[int]) -> bool:
    """Whether this is the largest number of threads."""
    return place == len(threads) - 1


def tables(lines: list[Line]) -> str:
    """Markdown: for each kind of shard a table, min / median / max and the share of the limit."""
    parts = []
    threads = sorted({line["threads"] for line in lines})
    for stored in sorted({line["stored"] for line in lines}):
        heads = [f"{count} thread{'s' * (count > 1)} | of the limit" for count in threads]
        parts.append(f"| {stored} | {' | '.join(heads)} |\n|---|{'---|' * (2 * len(threads))}")
        for output, title in OUTPUTS.items():
            for name in TITLES:
                cells = [cell(lines_of(lines, stored, output, count), name, output) for count in threads]
                if any(cells) and (name != "codec" or output == "uint8 NHWC"):
                    what = TITLES[name] if name == "codec" else f"{TITLES[name]}, {title}"
                    parts.append(f"| {what} | {' | '.join(cell or ' | ' for cell in cells)} |")
        parts.append("")
    return "\n".join(parts)


def cell(found: dict[str, Line], name: str, output: str) -> str:
    """One contender's rates and its share of the limit; nothing where it has none."""
    if name not in found:
        return ""
    line = found[name]
    limit = next((found[each]["median"] for each in LIMITS if each in found), None)
    share = f"{line['median'] / limit:.2f}" if limit else ""
    mark = " (disturbed)" if line["disturbed"] else ""
    rates = line["counted"]
    return f"{min(rates):.0f} / **{line['median']:.0f}** / {max(rates):.0f}{mark} | {share}"


def main(config: PlotConfig) -> None:
    """Draws and prints."""
    lines = last_run(config.results)
    draw(lines, config.out)
    print(tables(lines))


if __name__ == "__main__":
    main(tyro.cli(PlotConfig))
