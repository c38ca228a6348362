"""What a net was taught and judged on, in numbers: counts, sizes, and the statistics of the pixels."""

import numpy as np

from imagefeed.jobs.report.schema import Data, HistogramBin, ImageSize, PixelStatistics, SplitFacts
from imagefeed.pipeline.dataset.split import Split

NUM_BINS = 24


def data_facts(split: Split, train: Split) -> Data:
    """The facts of both splits, under their names, and the training split's pixel statistics.

    `pixels`: mean, deviation (square roots of the covariance's diagonal), eigenvalues and eigenvectors of R, G and B in
    grey levels, as manifest.json has them; None where nobody has taken them.
    """
    splits = {"train": train, split.manifest.split: split}
    taken = train.manifest.statistics
    pixels = None
    if taken is not None:
        pixels = PixelStatistics(
            num_pixels=taken.num_pixels,
            mean=taken.mean,
            deviation=tuple(np.sqrt(np.diag(np.array(taken.covariance))).tolist()),
            eigenvalues=taken.eigenvalues,
            eigenvectors=taken.eigenvectors,
        )
    low, high = (int(pick([pick(each.columns.size) for each in splits.values() if len(each)])) for pick in (min, max))
    return Data(
        digest=split.manifest.digest,
        train_digest=train.manifest.digest,
        splits={name: split_facts(each, low, high) for name, each in splits.items()},
        pixels=pixels,
    )


def split_facts(dataset: Split, low: int, high: int) -> SplitFacts:
    """Counts and sizes of one split, the most frequent first; `low` and `high` are the ends of its histogram, bytes."""
    columns, manifest = dataset.columns, dataset.manifest
    shapes, times = np.unique(np.stack([columns.height, columns.width], axis=1), axis=0, return_counts=True)
    order = np.argsort(-times, kind="stable")[:5]
    return SplitFacts(
        num_samples=len(dataset),
        num_quarantined=manifest.num_quarantined,
        format=manifest.format,
        num_shards=len(manifest.shards),
        shard_bytes=sum(shard.num_bytes for shard in manifest.shards),
        image_bytes=int(columns.size.sum()),
        images_a_class=tuple(np.bincount(columns.label, minlength=len(dataset.classes)).tolist()),
        sizes=tuple(
            ImageSize(height=int(h), width=int(w), total=int(n))
            for (h, w), n in zip(shapes[order], times[order], strict=True)
        ),
        num_sizes=len(shapes),
        histogram=histogram(dataset, low, high),
    )


def histogram(dataset: Split, low: int, high: int, num_bins: int = NUM_BINS) -> tuple[HistogramBin, ...]:
    """How many stored files have how many bytes, in equal bins from `low` to `high`."""
    counts, edges = np.histogram(dataset.columns.size, num_bins, (low, max(high, low + 1)))
    total = max(1, len(dataset))
    return tuple(
        HistogramBin(low=float(edges[i]), high=float(edges[i + 1]), total=int(n), share=int(n) / total)
        for i, n in enumerate(counts)
    )
