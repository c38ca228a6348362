"""`report.html` of an evaluation: what stands in report.json, and the pictures that do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from imagefeed.jobs.report.evaluation_charts import (
    ClassError,
    class_chart,
    count_chart,
    histogram_chart,
    property_chart,
    reliability_diagram,
)
from imagefeed.jobs.report.html import page
from imagefeed.jobs.report.paper import beside, is_ilsvrc
from imagefeed.jobs.report.pictures import data_url, kernel_grid, thumbnail
from imagefeed.jobs.report.schema import ClassCounts, Mistake, Query, Report
from imagefeed.jobs.report.training_charts import training_charts

NUM_MISTAKES = 8  # shown of each kind; report.json names more
EXTREMES = 8  # classes listed at each end
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """All that the page shows."""

    report: Report
    kernels: np.ndarray  # float [n, 3, h, w], the first layer's weights; n even: the halves are the two groups
    mean_image: np.ndarray | None  # float [H, W, 3], grey levels: the training split's
    images: Mapping[int, np.ndarray]  # samples as the net sees them: id -> uint8 [H, W, 3]; those of `shown_ids`
    train_images: Mapping[int, np.ndarray]  # and training samples, those of `neighbour_ids`


def shown_ids(report: Report) -> list[int]:
    """The samples whose images the page shows."""
    ids = {row.id for row in report.examples} | {row.id for row in queries_of(report)}
    return sorted(ids | {row.id for rows in shown_mistakes(report).values() for row in rows})


def neighbour_ids(report: Report) -> list[int]:
    """The training samples whose images the page shows."""
    return sorted({row.id for query in queries_of(report) for row in query.nearest})


def queries_of(report: Report) -> tuple[Query, ...]:
    """The samples that the nearest training images were searched for, if they were."""
    return report.neighbours.queries if report.neighbours else ()


def shown_mistakes(report: Report) -> dict[str, tuple[Mistake, ...]]:
    """The worst mistakes of the headline's protocol, of each kind."""
    mistakes = report.protocols[report.headline].mistakes
    return {"surest": mistakes.surest[:NUM_MISTAKES], "hardest": mistakes.hardest[:NUM_MISTAKES]}


def render(inputs: ReportInputs) -> str:
    """The page. The same inputs give the same characters."""
    report = inputs.report
    result = report.protocols[report.headline]
    words = [each.short for each in report.classes]
    by_error = classes_by_error(result.per_class, words)
    half = len(inputs.kernels) // 2
    splits = report.data.splits
    constant = {name: bins[0] for name, bins in result.by_property.items() if len(bins) == 1}
    charts = [
        *training_charts(report.training, report.chance.top1.error),
        count_chart({name: split.images_a_class for name, split in splits.items()}, words),
        histogram_chart({name: split.histogram for name, split in splits.items()}),
        class_chart(by_error),
        reliability_diagram(result.calibration),
        *(property_chart(name, bins) for name, bins in result.by_property.items() if name not in constant),
    ]
    return page(
        "report.html.j2",
        charts=charts,
        report=report,
        headline=report.headline,
        result=result,
        paper={
            name: beside(each.protocol, ensemble=not each.net and len(report.checkpoints) > 1)
            for name, each in report.protocols.items()
            if is_ilsvrc(report.classes)
        },
        words=words,
        extremes=best_and_worst(by_error),
        constant=constant,
        kernels=[data_url(kernel_grid(group)) for group in (inputs.kernels[:half], inputs.kernels[half:])],
        num_kernels=len(inputs.kernels),
        mean_image=None if inputs.mean_image is None else data_url(inputs.mean_image.round().astype(np.uint8)),
        mistakes=shown_mistakes(report),
        images={number: data_url(image) for number, image in inputs.images.items()},
        thumbnails={number: data_url(thumbnail(image)) for number, image in inputs.images.items()},
        neighbours={number: data_url(thumbnail(image)) for number, image in inputs.train_images.items()},
    )


def classes_by_error(counts: ClassCounts, words: Sequence[str]) -> list[ClassError]:
    """The top-1 error within each class that has samples, the least first, equal ones by label."""
    rows = [
        ClassError(words=words[label], wrong=wrong, total=total, error=wrong / total)
        for label, (wrong, total) in enumerate(zip(counts.wrong_top1, counts.total, strict=True))
        if total
    ]
    return sorted(rows, key=lambda row: row.error)


def best_and_worst(rows: list[T], each: int = EXTREMES) -> tuple[list[T], list[T]]:
    """The first and the last of some rows: the halves of them where there are few."""
    size = min(each, (len(rows) + 1) // 2)
    return rows[:size], rows[max(size, len(rows) - each) :]
