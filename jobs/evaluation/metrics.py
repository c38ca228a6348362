"""What the predictions say beyond two error rates: how far the probabilities can be trusted, which classes
are taken for which, the worst mistakes, and whether one net is really better than another."""

import numpy as np
import pyarrow as pa
import pyarrow.compute
import scipy.stats

from imagefeed.jobs.evaluation.predictions import column
from imagefeed.jobs.report.schema import Calibration, CalibrationBin, Confusion, Mistake, Mistakes, PairTest


def calibration(predictions: pa.Table, entry: str, num_bins: int = 15) -> Calibration:
    """The reliability diagram of the top-1 probability, and the expected calibration error (ECE).

    Bin i holds the samples whose probability p lies in i / num_bins < p <= (i + 1) / num_bins; empty bins are
    left out. ECE is the mean distance of a bin's accuracy from its mean probability, weighted by its samples
    (Guo et al. 2017, equation 3).
    """
    probability, _, right = top1(predictions, entry)
    bins = np.clip(np.ceil(probability * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    counts, sums, rights = (np.bincount(bins, weights, num_bins) for weights in (None, probability, right))
    rows = tuple(
        CalibrationBin(
            low=i / num_bins,
            high=(i + 1) / num_bins,
            total=int(counts[i]),
            probability=float(sums[i] / counts[i]),
            accuracy=float(rights[i] / counts[i]),
        )
        for i in np.flatnonzero(counts).tolist()
    )
    return Calibration(ece=float(np.abs(rights - sums).sum() / len(bins)), bins=rows)


def confusions(predictions: pa.Table, entry: str, limit: int = 20) -> tuple[Confusion, ...]:
    """The pairs of true and predicted class that occur most often, equally frequent ones by label."""
    _, predicted, right = top1(predictions, entry)
    pairs = np.stack([predictions["label"].to_numpy(), predicted], axis=1)[~right]
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit]
    return tuple(
        Confusion(label=int(label), predicted=int(guess), total=int(total))
        for (label, guess), total in zip(unique[order], counts[order], strict=True)
    )


def mistakes(predictions: pa.Table, entry: str, limit: int = 24) -> Mistakes:
    """Samples whose top-1 is wrong. `surest`: the wrong class most probable first; `hardest`: the true class least
    probable first. Equal ones by id."""
    probability, predicted, right = top1(predictions, entry)
    true = predictions[column(entry, "true_probability")].to_numpy().astype(np.float64)
    wrong = np.flatnonzero(~right)

    def rows(by: np.ndarray) -> tuple[Mistake, ...]:
        chosen = wrong[np.argsort(by[wrong], kind="stable")[:limit]]
        return tuple(
            Mistake(
                **predictions.select(["id", "key", "label"]).slice(i, 1).to_pylist()[0],
                predicted=int(predicted[i]),
                probability=float(probability[i]),
                true_probability=float(true[i]),
            )
            for i in chosen.tolist()
        )

    return Mistakes(surest=rows(-probability), hardest=rows(true))


def mcnemar(predictions: pa.Table, first: str, second: str) -> PairTest:
    """McNemar's test on top-1 between two entries: could both be equally good, given where they differ?

    Only samples that exactly one of them has right count. Were both equally good, each of the two would be right
    on half of these: `p` is the exact two-sided binomial probability of a split at least as uneven, 1 where there
    are none (McNemar 1947, in its exact form).
    """
    one, other = (predictions[column(entry, "true_rank")].to_numpy() == 1 for entry in (first, second))
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    differ = only_first + only_second
    p = float(scipy.stats.binomtest(only_first, differ).pvalue) if differ else 1.0
    return PairTest(first=first, second=second, only_first=only_first, only_second=only_second, p=p)


def top1(predictions: pa.Table, entry: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each sample the likeliest class's probability (float64), that class, and whether it is right (bool)."""

    def first(name: str) -> np.ndarray:
        return np.array(pa.compute.list_element(predictions[column(entry, name)], 0))

    right = predictions[column(entry, "true_rank")].to_numpy() == 1
    return first("top_probabilities").astype(np.float64), first("top_classes"), right
