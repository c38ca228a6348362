"""Error by what an image is like: its bytes, its size, its brightness."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from imagefeed.jobs.evaluation.predictions import Errors, column
from imagefeed.jobs.report.schema import PropertyBin

NUM_BINS = 8


def properties_of(samples: pa.Table, predictions: pa.Table) -> dict[str, np.ndarray]:
    """What is known of each sample, in the order of the ids: float64 [n] by the property's name.

    `samples` is the split's own table. `bytes`: of the stored file; `pixels`: height times width as it is stored, left
    out where the table does not know it; `brightness`: the mean grey level of the centre crop, 0 to 255.
    """
    samples = samples.sort_by("id")
    found = {
        "bytes": samples["size"].to_numpy(),
        "pixels": samples["height"].to_numpy().astype(np.int64) * samples["width"].to_numpy(),
        "brightness": predictions["brightness"].to_numpy(),
    }
    return {name: values.astype(np.float64) for name, values in found.items() if name != "pixels" or values.all()}


def error_by_property(
    properties: Mapping[str, np.ndarray], predictions: pa.Table, entry: str, num_bins: int = NUM_BINS
) -> dict[str, tuple[PropertyBin, ...]]:
    """By property, the top-1 error within bins of about equally many samples, from the least value to the greatest.

    A bin has the samples from `low` to `high`, both of which occur in it, their `mean`, and the error with interval.
    Samples of one value are in one bin, so that there are fewer bins where values are few.
    """
    wrong = predictions[column(entry, "true_rank")].to_numpy() > 1
    return {name: bins_of(values, wrong, num_bins) for name, values in properties.items()}


def bins_of(values: np.ndarray, wrong: np.ndarray, num_bins: int) -> tuple[PropertyBin, ...]:
    """The bins of one property: `values` float64 [n], `wrong` bool [n]."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, num_bins + 1)[1:-1], method="inverted_cdf"))
    places = np.searchsorted(edges, values, side="left")  # a value that is an edge is the last of the bin before it
    rows = []
    for place in np.unique(places).tolist():
        inside = places == place
        counted = Errors(wrong=int(wrong[inside].sum()), total=int(inside.sum()))
        error_low, error_high = counted.interval()
        rows.append(
            PropertyBin(
                low=float(values[inside].min()),
                high=float(values[inside].max()),
                mean=float(values[inside].mean()),
                wrong=counted.wrong,
                total=counted.total,
                error=counted.error,
                error_low=error_low,
                error_high=error_high,
            )
        )
    return tuple(rows)
