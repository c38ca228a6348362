"""The numbers of a dataset, as a user reads them."""

import numpy as np

from imagefeed.pipeline.checks.contact_sheet import spread
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.image.stored import JPEG, OTHER, RAW

KINDS = {JPEG: "JPEG", RAW: "raw", OTHER: "other"}


def numbers(dataset: Split) -> list[tuple[str, str]]:
    """What the manifest and the table say, a line each: what, how much."""
    manifest, columns = dataset.manifest, dataset.columns
    per_class = np.bincount(columns.label, minlength=len(dataset.classes))
    size = columns.size / 1e3
    kinds = np.bincount(columns.kind, minlength=3)
    storage = manifest.storage
    lines = [
        ("images", f"{len(dataset):,}, and {manifest.num_quarantined:,} in quarantine"),
        ("classes", f"{len(dataset.classes):,}, of {per_class.min():,} to {per_class.max():,} images"),
        (
            "shards",
            f"{len(manifest.shards):,} {manifest.format}, {sum(s.num_bytes for s in manifest.shards) / 1e6:,.1f} MB",
        ),
        ("kinds", ", ".join(f"{count:,} {KINDS[kind]}" for kind, count in enumerate(kinds.tolist()) if count)),
        ("kB an image", f"{spread(size)}"),
    ]
    if storage:
        quality = f", quality {storage.quality}" if storage.quality else ""
        lines.append(("stored", f"{storage.resize}, {storage.encoding}{quality}"))
    if dataset.sizes_known:
        lines += [("height, pixels", spread(columns.height)), ("width, pixels", spread(columns.width))]
    if dataset.has_statistics:
        mean, deviation = dataset.statistics.mean, np.sqrt(np.diag(dataset.statistics.covariance))
        lines.append(("mean, R G B", " ".join(f"{each:.1f}" for each in mean)))
        lines.append(("deviation, R G B", " ".join(f"{each:.1f}" for each in deviation)))
    return lines
