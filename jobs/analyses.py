"""What the predictions say beyond two error rates: how far the probabilities can be trusted, which classes
are taken for which."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from jobs.scores import Protocol, column


def calibration(predictions: pa.Table, protocol: Protocol, num_bins: int = 15) -> dict[str, Any]:
    """The reliability diagram of the top-1 probability, and the expected calibration error (ECE).

    Bin i holds the samples whose probability p lies in i / num_bins < p <= (i + 1) / num_bins; empty bins are
    left out. ECE is the mean distance of a bin's accuracy from its mean probability, weighted by its samples
    (Guo et al. 2017, equation 3).
    """
    probability, _, right = top1(predictions, protocol)
    bins = np.clip(np.ceil(probability * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    counts, sums, rights = (np.bincount(bins, weights, num_bins) for weights in (None, probability, right))
    rows = [
        {
            "low": i / num_bins,
            "high": (i + 1) / num_bins,
            "total": int(counts[i]),
            "probability": float(sums[i] / counts[i]),
            "accuracy": float(rights[i] / counts[i]),
        }
        for i in np.flatnonzero(counts).tolist()
    ]
    return {"ece": float(np.abs(rights - sums).sum() / len(bins)), "bins": rows}


def confusions(predictions: pa.Table, protocol: Protocol, limit: int = 20) -> list[dict[str, int]]:
    """The pairs of true and predicted class that occur most often, equally frequent ones by label."""
    _, predicted, right = top1(predictions, protocol)
    pairs = np.stack([predictions["label"].to_numpy(), predicted], axis=1)[~right]
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit]
    return [
        {"label": int(label), "predicted": int(guess), "total": int(total)}
        for (label, guess), total in zip(unique[order], counts[order], strict=True)
    ]


def top1(predictions: pa.Table, protocol: Protocol) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each sample the likeliest class's probability (float64), that class, and whether it is right (bool)."""

    def first(name: str) -> np.ndarray:
        return np.array(pa.compute.list_element(predictions[column(protocol, name)], 0))

    right = predictions[column(protocol, "true_rank")].to_numpy() == 1
    return first("top_probabilities").astype(np.float64), first("top_classes"), right
