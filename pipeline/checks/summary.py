"""The numbers of a dataset, as a user reads them."""

from dataclasses import asdict
from typing import Any

import numpy as np

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.image.stored import JPEG, OTHER, RAW

KINDS = {JPEG: "JPEG", RAW: "raw", OTHER: "other"}


def numbers(dataset: Split) -> list[tuple[str, str]]:
    """What the manifest and the table say, a line each: what, how much."""
    manifest, columns = dataset.manifest, dataset.columns
    per_class = np.bincount(columns.label, minlength=len(dataset.classes))
    size = columns.size / 1e3
    kinds = np.bincount(columns.kind, minlength=3)
    storage, fields = manifest.storage, sorted(manifest.fields.items())
    lines = [
        ("images", f"{len(dataset):,}, and {manifest.num_quarantined:,} in quarantine"),
        ("classes", f"{len(dataset.classes):,}, of {per_class.min():,} to {per_class.max():,} images"),
        (
            "shards",
            f"{len(manifest.shards):,} {manifest.format}, {sum(s.num_bytes for s in manifest.shards) / 1e6:,.1f} MB",
        ),
        ("kinds", ", ".join(f"{count:,} {KINDS[kind]}" for kind, count in enumerate(kinds.tolist()) if count)),
        ("kB an image", f"{range_of(size)}"),
    ]
    if storage:
        quality = f", quality {storage.quality}" if storage.quality else ""
        lines.append(("stored", f"{storage.resize}, {storage.encoding}{quality}"))
    if manifest.fields:
        said = (f"{name} {each.type}" + f" of {each.size}" * (each.size is not None) for name, each in fields)
        lines.append(("fields", ", ".join(said)))
    if dataset.sizes_known:
        lines += [("height, pixels", range_of(columns.height)), ("width, pixels", range_of(columns.width))]
    if dataset.has_statistics:
        mean, deviation = dataset.statistics.mean, np.sqrt(np.diag(dataset.statistics.covariance))
        lines.append(("mean, R G B", " ".join(f"{each:.1f}" for each in mean)))
        lines.append(("deviation, R G B", " ".join(f"{each:.1f}" for each in deviation)))
    return lines


def as_record(dataset: Split) -> dict[str, Any]:
    """The same for programs: what JSON can hold, with the images of each class in the order of the labels."""
    manifest, columns = dataset.manifest, dataset.columns
    per_class = np.bincount(columns.label, minlength=len(dataset.classes)).tolist()
    kinds = np.bincount(columns.kind, minlength=len(KINDS)).tolist()
    statistics = None
    if dataset.has_statistics:
        deviation = np.sqrt(np.diag(dataset.statistics.covariance)).tolist()
        statistics = {"mean": list(dataset.statistics.mean), "deviation": deviation}
    return {
        "split": manifest.split,
        "format": manifest.format,
        "images": len(dataset),
        "quarantined": manifest.num_quarantined,
        "shards": len(manifest.shards),
        "bytes": sum(shard.num_bytes for shard in manifest.shards),
        "kinds": {KINDS[kind]: count for kind, count in enumerate(kinds)},
        "storage": None if manifest.storage is None else asdict(manifest.storage),
        "fields": {name: asdict(each) for name, each in manifest.fields.items()},
        "statistics": statistics,
        "left_out": asdict(manifest.left_out),
        "classes": [
            {"label": label, "id": each.wnid, "words": each.words, "images": count}
            for label, (each, count) in enumerate(zip(dataset.classes, per_class, strict=True))
        ],
    }


def range_of(values: np.ndarray) -> str:
    """The least, the middle and the largest of some numbers."""
    low, middle, high = np.quantile(values, (0, 0.5, 1))
    return f"{low:,.4g} / {middle:,.4g} / {high:,.4g} (least, median, most)"
