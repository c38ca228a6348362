"""Two evaluations beside each other, as a page."""

from collections.abc import Mapping
from typing import Any

from imagefeed.jobs.report.evaluation_charts import class_difference_chart
from imagefeed.jobs.report.html import page
from imagefeed.jobs.report.training_charts import training_charts

NUM_CHANGED = 10  # classes listed at each end


def render_comparison(summary: Mapping[str, Any]) -> str:
    """compare.html, from the content of compare.json. The same gives the same characters."""
    changes = summary["classes"]
    charts = training_charts(summary["training"], summary["chance"]["top1"]["error"])
    return page(
        "compare.html.j2",
        charts=[*charts, class_difference_chart(changes)],
        summary=summary,
        better=[row for row in changes if row["change"] < 0][:NUM_CHANGED],
        worse=[row for row in reversed(changes) if row["change"] > 0][:NUM_CHANGED],
    )
