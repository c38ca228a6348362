"""`report.html` of an evaluation: what stands in report.json, and the pictures that do not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagefeed.jobs.report.evaluation_charts import (
    class_chart,
    count_chart,
    histogram_chart,
    property_chart,
    reliability_diagram,
)
from imagefeed.jobs.report.html import page
from imagefeed.jobs.report.paper import beside, is_ilsvrc
from imagefeed.jobs.report.pictures import data_url, kernel_grid, thumbnail
from imagefeed.jobs.report.training_charts import training_charts
from imagefeed.pipeline.dataset.manifest import Class

NUM_MISTAKES = 8  # shown of each kind; report.json names more
EXTREMES = 8  # classes listed at each end


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """All that the page shows."""

    summary: Mapping[str, Any]  # the content of report.json
    kernels: np.ndarray  # float [n, 3, h, w], the first layer's weights; n even: the halves are the two groups
    mean_image: np.ndarray | None  # float [H, W, 3], grey levels: the training split's
    images: Mapping[int, np.ndarray]  # samples as the net sees them: id -> uint8 [H, W, 3]; those of `shown_ids`
    train_images: Mapping[int, np.ndarray]  # and training samples, those of `neighbour_ids`


def shown_ids(summary: Mapping[str, Any]) -> list[int]:
    """The samples whose images the page shows."""
    mistakes = shown_mistakes(summary)
    queries = (summary["neighbours"] or {"queries": []})["queries"]
    return sorted({row["id"] for rows in (summary["examples"], queries, *mistakes.values()) for row in rows})


def neighbour_ids(summary: Mapping[str, Any]) -> list[int]:
    """The training samples whose images the page shows."""
    queries = (summary["neighbours"] or {"queries": []})["queries"]
    return sorted({row["id"] for query in queries for row in query["nearest"]})


def shown_mistakes(summary: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The worst mistakes of the headline's protocol, of each kind."""
    mistakes = summary["protocols"][headline_of(summary)]["mistakes"]
    return {kind: rows[:NUM_MISTAKES] for kind, rows in mistakes.items()}


def headline_of(summary: Mapping[str, Any]) -> str:
    """The protocol whose errors stand at the top."""
    return "ten-crop" if "ten-crop" in summary["protocols"] else next(iter(summary["protocols"]))


def render(inputs: ReportInputs) -> str:
    """The page. The same inputs give the same characters."""
    summary = inputs.summary
    headline = headline_of(summary)
    result = summary["protocols"][headline]
    classes = [Class(**each) for each in summary["classes"]]
    words = [short(each) for each in classes]
    by_error = classes_by_error(result["per_class"], words)
    half = len(inputs.kernels) // 2
    splits = summary["data"]["splits"]
    constant = {name: bins[0] for name, bins in result["by_property"].items() if len(bins) == 1}
    charts = [
        *training_charts(summary["training"], summary["chance"]["top1"]["error"]),
        count_chart({name: split["images_a_class"] for name, split in splits.items()}, words),
        histogram_chart({name: split["histogram"] for name, split in splits.items()}),
        class_chart(by_error),
        reliability_diagram(result["calibration"]),
        *(property_chart(name, bins) for name, bins in result["by_property"].items() if name not in constant),
    ]
    return page(
        "report.html.j2",
        charts=charts,
        summary=summary,
        headline=headline,
        result=result,
        paper={
            name: beside(each["protocol"], ensemble=not each["net"] and len(summary["checkpoints"]) > 1)
            for name, each in summary["protocols"].items()
            if is_ilsvrc(classes)
        },
        words=words,
        extremes=best_and_worst(by_error),
        constant=constant,
        kernels=[data_url(kernel_grid(group)) for group in (inputs.kernels[:half], inputs.kernels[half:])],
        num_kernels=len(inputs.kernels),
        mean_image=None if inputs.mean_image is None else data_url(inputs.mean_image.round().astype(np.uint8)),
        mistakes=shown_mistakes(summary),
        images={number: data_url(image) for number, image in inputs.images.items()},
        thumbnails={number: data_url(thumbnail(image)) for number, image in inputs.images.items()},
        neighbours={number: data_url(thumbnail(image)) for number, image in inputs.train_images.items()},
    )


def short(of: Class) -> str:
    """What a class is called in little room: the first of its words, or its id where it has none."""
    return of.words.split(",")[0] or of.wnid


def classes_by_error(per_class: Mapping[str, list[int]], words: list[str]) -> list[dict[str, Any]]:
    """The top-1 error within each class that has samples, the least first, equal ones by label."""
    rows = [
        {"words": words[label], "wrong": wrong, "total": total, "error": wrong / total}
        for label, (wrong, total) in enumerate(zip(per_class["wrong_top1"], per_class["total"], strict=True))
        if total
    ]
    return sorted(rows, key=lambda row: row["error"])


def best_and_worst(
    rows: list[dict[str, Any]], each: int = EXTREMES
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The first and the last of some rows: the halves of them where there are few."""
    size = min(each, (len(rows) + 1) // 2)
    return rows[:size], rows[max(size, len(rows) - each) :]
