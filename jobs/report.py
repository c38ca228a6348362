"""`report.html`: one page, complete in itself, from the numbers, the predictions and the first layer."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
from markupsafe import Markup

from jobs.figures import Chart, Record, data_url, kernel_grid, reliability_diagram, training_curves
from jobs.scores import column
from pipeline.manifest import Class

TEMPLATE = Path(__file__).with_name("report.html.j2")

# Krizhevsky, Sutskever, Hinton 2012: tables 1 and 2, and the footnote to table 1. No extra training data;
# one net, except for the ensemble.
PAPER: dict[str, list[dict[str, Any]]] = {
    "centre": [{"where": "ILSVRC-2010 test", "top1": 0.390, "top5": 0.183}],
    "ten-crop": [
        {"where": "ILSVRC-2012 validation", "top1": 0.407, "top5": 0.182},
        {"where": "ILSVRC-2010 test", "top1": 0.375, "top5": 0.170},
    ],
    "ensemble": [{"where": "ILSVRC-2012 validation, five nets", "top1": 0.381, "top5": 0.164}],
}


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """All that the page shows."""

    summary: Mapping[str, Any]  # the content of report.json
    predictions: pa.Table  # the content of predictions.parquet
    classes: Sequence[Class]
    kernels: np.ndarray  # float [n, 3, h, w], the first layer's weights; n even: the halves are the two groups
    metrics: Sequence[Record]  # the lines of the run's metrics.jsonl, none where there is no such file
    images: Mapping[int, np.ndarray]  # some samples as the net sees them: id -> uint8 [H, W, 3]


def render(inputs: ReportInputs) -> str:
    """The page. The same inputs give the same characters."""
    protocols = list(inputs.summary["protocols"])
    headline = "ten-crop" if "ten-crop" in protocols else "centre"
    words = [each.words.split(",")[0] for each in inputs.classes]
    best, worst = best_and_worst(class_accuracies(inputs.predictions, headline, words))
    half = len(inputs.kernels) // 2
    # Strict: a name that the template uses and this function does not give is an error, not an empty place.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "css": css, "count": count}
    return environment.from_string(TEMPLATE.read_text()).render(
        summary=inputs.summary,
        headline=headline,
        paper=PAPER if is_ilsvrc(inputs.classes) else {},
        curves=[drawn(chart) for chart in training_curves(inputs.metrics, inputs.summary["chance"]["top1"]["error"])],
        kernels=[data_url(kernel_grid(group)) for group in (inputs.kernels[:half], inputs.kernels[half:])],
        num_kernels=len(inputs.kernels),
        reliability=drawn(reliability_diagram(inputs.summary["protocols"][headline]["calibration"])),
        words=words,
        best=best,
        worst=worst,
        examples=examples(inputs, headline, words),
    )


def drawn(chart: Chart) -> dict[str, Any]:
    """A chart for the template."""
    return {"title": chart.title, "svg": Markup(chart.svg), "description": chart.description}


def percent(share: float, digits: int = 1) -> str:
    """A share, 0 to 1, for people: the number and its sign stay on one line."""
    return f"{100 * share:.{digits}f}\u00a0%"


def css(share: float) -> str:
    """A share, 0 to 1, as a length in a style."""
    return f"{100 * share:.2f}%"


def count(number: int) -> str:
    """A count with narrow spaces between the thousands, which no line breaks at."""
    return f"{number:,}".replace(",", "\u202f")


def is_ilsvrc(classes: Sequence[Class]) -> bool:
    """Whether these look like ILSVRC's 1000 synsets, so that the paper's figures may stand beside ours."""
    return len(classes) == 1000 and all(re.fullmatch(r"n\d{8}", each.wnid) for each in classes)


def class_accuracies(predictions: pa.Table, entry: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """The top-1 accuracy within each class that has samples, the most accurate first."""
    labels = predictions["label"].to_numpy()
    right = predictions[column(entry, "true_rank")].to_numpy() == 1
    totals = np.bincount(labels, minlength=len(words))
    rights = np.bincount(labels[right], minlength=len(words))
    rows = [
        {
            "words": words[i],
            "right": int(rights[i]),
            "total": int(totals[i]),
            "accuracy": float(rights[i] / totals[i]),
        }
        for i in np.flatnonzero(totals).tolist()
    ]
    return sorted(rows, key=lambda row: -row["accuracy"])


def best_and_worst(rows: list[dict[str, Any]], each: int = 8) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The first and the last of some rows: the halves of them where there are few."""
    size = min(each, (len(rows) + 1) // 2)
    return rows[:size], rows[max(size, len(rows) - each) :]


def examples(inputs: ReportInputs, entry: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """The page's images with their likeliest classes, in the order of their ids."""
    chosen = inputs.predictions.filter(pa.compute.is_in(inputs.predictions["id"], pa.array(sorted(inputs.images))))
    return [
        {
            "key": row["key"],
            "words": words[row["label"]],
            "url": data_url(inputs.images[row["id"]]),
            "top": [
                {"words": words[label], "probability": probability, "true": label == row["label"]}
                for label, probability in zip(
                    row[column(entry, "top_classes")],
                    row[column(entry, "top_probabilities")],
                    strict=True,
                )
            ],
        }
        for row in chosen.to_pylist()
    ]


def read_metrics(path: Path) -> list[Record]:
    """The records of a `metrics.jsonl`, none where there is no such file.

    A last line without its end is one that is being written, or was cut off by a kill: it does not count. Any
    other line that is not JSON raises `ValueError`.
    """
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text().split("\n")[:-1], start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is not JSON ({error}): move the file away") from error
    return records
