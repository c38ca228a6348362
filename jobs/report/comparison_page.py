"""Two evaluations beside each other, as a page."""

from imagefeed.jobs.report.comparison_schema import Comparison
from imagefeed.jobs.report.evaluation_charts import class_difference_chart
from imagefeed.jobs.report.html import page
from imagefeed.jobs.report.training_charts import training_charts

NUM_CHANGED = 10  # classes listed at each end


def render_comparison(comparison: Comparison) -> str:
    """compare.html, from the content of compare.json. The same gives the same characters."""
    changes = comparison.classes
    charts = training_charts(comparison.training, comparison.chance.top1.error)
    return page(
        "compare.html.j2",
        charts=[*charts, class_difference_chart(changes)],
        comparison=comparison,
        better=[row for row in changes if row.change < 0][:NUM_CHANGED],
        worse=[row for row in reversed(changes) if row.change > 0][:NUM_CHANGED],
    )
