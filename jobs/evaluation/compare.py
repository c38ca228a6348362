"""Two evaluations of the same split beside each other: curves, errors, and whether one net is really better.

It reads what they wrote, report.json and predictions.parquet, and computes nothing on images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.jobs.evaluation.metrics import mcnemar
from imagefeed.jobs.evaluation.predictions import SCORE_FIELDS, column
from imagefeed.jobs.report.comparison_schema import AnswerErrors, ClassChange, Comparison, Origin, ProtocolComparison
from imagefeed.jobs.report.schema import REPORT, Report, headline, read_report
from imagefeed.pipeline.files.hashing import file_sha256

NAMES = ("A", "B")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation wrote."""

    folder: Path
    report: Report
    predictions: pa.Table


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in `folder`, or in `folder`/evaluation where that is a run.

    Raises `FileNotFoundError` where there is none, `ValueError` where its files do not belong together.
    """
    for inside in (folder, folder / "evaluation"):
        if (inside / REPORT).is_file() and (inside / "predictions.parquet").is_file():
            break
    else:
        raise FileNotFoundError(
            f"{folder} holds no evaluation, nor does {folder / 'evaluation'}: make one with "
            f"`python jobs/evaluate.py --checkpoint {folder}/checkpoint-last.pt --data DATA --out {folder}/evaluation`"
        )
    report = read_report(inside / REPORT)
    if file_sha256(inside / "predictions.parquet") != report.predictions_sha256:
        raise ValueError(
            f"{inside / 'predictions.parquet'} is not what report.json beside it speaks of: evaluate again"
        )
    return Evaluation(inside, report, pq.read_table(inside / "predictions.parquet"))


def comparison(one: Evaluation, other: Evaluation) -> Comparison:
    """What compare.json says: A is `one`, B is `other`.

    By each protocol that both have (dense crops: the same ones), the errors of the answers (the net, or the ensemble),
    and McNemar's test. Raises `ValueError` where the two were not judged on the same split, or by no protocol in
    common.
    """
    first, second = one.report, other.report
    if first.data.digest != second.data.digest or not one.predictions["key"].equals(other.predictions["key"]):
        raise ValueError(
            f"{one.folder} and {other.folder} were judged on different splits (digests {first.data.digest[:12]} and "
            f"{second.data.digest[:12]}): judge both on the same one"
        )
    shared = [
        name
        for name, entry in first.protocols.items()
        if not entry.net and name in second.protocols and (entry.protocol != "dense" or first.dense == second.dense)
    ]
    if not shared:
        raise ValueError(f"{one.folder} and {other.folder} were judged by different protocols: name one for both")
    both = dict(zip(NAMES, (first, second), strict=True))
    table = side_by_side(one.predictions, other.predictions, shared)
    return Comparison(
        split=first.split,
        num_samples=first.num_samples,
        num_classes=first.num_classes,
        chance=first.chance,
        digest=first.data.digest,
        headline=headline(shared),
        protocols={
            name: ProtocolComparison(
                description=first.protocols[name].description,
                errors={
                    label: AnswerErrors(top1=each.protocols[name].top1, top5=each.protocols[name].top5)
                    for label, each in both.items()
                },
                test=mcnemar(table, *(f"{label}-{name}" for label in NAMES)),
            )
            for name in shared
        },
        evaluations={
            label: Origin(
                checkpoints=each.checkpoints,
                command=each.command,
                predictions_sha256=each.predictions_sha256,
                versions=each.versions,
            )
            for label, each in both.items()
        },
        training={
            label if len(each.training) == 1 else f"{label}, {run}": curves
            for label, each in both.items()
            for run, curves in each.training.items()
        },
        classes=class_changes(first, second, headline(shared)),
    )


def side_by_side(one: pa.Table, other: pa.Table, protocols: list[str]) -> pa.Table:
    """The columns of both, by protocol, under the names of entries: `A-centre`, `B-centre`."""
    names = [(protocol, name) for protocol in protocols for name in SCORE_FIELDS]
    return pa.table(
        {
            column(f"{label}-{protocol}", name): table[column(protocol, name)]
            for label, table in zip(NAMES, (one, other), strict=True)
            for protocol, name in names
        }
    )


def class_changes(one: Report, other: Report, protocol: str) -> tuple[ClassChange, ...]:
    """By class that has samples: its top-1 error in A and in B, and B's less A's, the most improved first."""
    counts = [each.protocols[protocol].per_class for each in (one, other)]
    total = np.array(counts[0].total)
    wrong = [np.array(count.wrong_top1) for count in counts]
    labels = np.flatnonzero(total)
    order = labels[np.argsort((wrong[1] - wrong[0])[labels] / total[labels], kind="stable")]
    return tuple(
        ClassChange(
            label=label,
            words=one.classes[label].short,
            total=int(total[label]),
            A=float(wrong[0][label] / total[label]),
            B=float(wrong[1][label] / total[label]),
            change=float((wrong[1][label] - wrong[0][label]) / total[label]),
        )
        for label in order.tolist()
    )
