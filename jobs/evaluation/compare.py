"""Two evaluations of the same split beside each other: curves, errors, and whether one net is really better.

It reads what they wrote, report.json and predictions.parquet, and computes nothing on images.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.jobs.evaluation.metrics import mcnemar
from imagefeed.jobs.evaluation.predictions import SCORE_FIELDS, column
from imagefeed.jobs.report.evaluation_page import short
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.hashing import file_sha256

NAMES = ("A", "B")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation wrote."""

    folder: Path
    summary: Mapping[str, Any]  # report.json
    predictions: pa.Table


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation in `folder`, or in `folder`/evaluation where that is a run.

    Raises `FileNotFoundError` where there is none, `ValueError` where its files do not belong together.
    """
    for place in (folder, folder / "evaluation"):
        if (place / "report.json").is_file() and (place / "predictions.parquet").is_file():
            break
    else:
        raise FileNotFoundError(
            f"{folder} holds no evaluation, nor does {folder / 'evaluation'}: make one with "
            f"`python jobs/evaluate.py --checkpoint {folder}/checkpoint-last.pt --data DATA --out {folder}/evaluation`"
        )
    try:
        summary = json.loads((place / "report.json").read_bytes())
        expected = summary["predictions_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place / 'report.json'} is no report of an evaluation ({error}): evaluate again") from error
    if file_sha256(place / "predictions.parquet") != expected:
        raise ValueError(f"{place / 'predictions.parquet'} is not what report.json beside it speaks of: evaluate again")
    return Evaluation(place, summary, pq.read_table(place / "predictions.parquet"))


def comparison(one: Evaluation, other: Evaluation) -> dict[str, Any]:
    """What compare.json says: A is `one`, B is `other`.

    By each protocol that both have (dense crops: the same ones), the errors of the answers (the net, or the ensemble),
    and McNemar's test. Raises `ValueError` where the two were not judged on the same split, or by no protocol in
    common.
    """
    digests = [each.summary["data"]["digest"] for each in (one, other)]
    if digests[0] != digests[1] or not one.predictions["key"].equals(other.predictions["key"]):
        raise ValueError(
            f"{one.folder} and {other.folder} were judged on different splits (digests {digests[0][:12]} and "
            f"{digests[1][:12]}): judge both on the same one"
        )
    shared = [
        name
        for name, entry in one.summary["protocols"].items()
        if not entry["net"]
        and name in other.summary["protocols"]
        and (entry["protocol"] != "dense" or one.summary["dense"] == other.summary["dense"])
    ]
    if not shared:
        raise ValueError(f"{one.folder} and {other.folder} were judged by different protocols: name one for both")
    both = side_by_side(one.predictions, other.predictions, shared)
    return {
        "split": one.summary["split"],
        "num_samples": one.summary["num_samples"],
        "num_classes": one.summary["num_classes"],
        "chance": one.summary["chance"],
        "digest": digests[0],
        "headline": "ten-crop" if "ten-crop" in shared else shared[0],
        "protocols": {
            name: {
                "description": one.summary["protocols"][name]["description"],
                "errors": {
                    label: {top: each.summary["protocols"][name][top] for top in ("top1", "top5")}
                    for label, each in zip(NAMES, (one, other), strict=True)
                },
                "test": mcnemar(both, *(f"{label}-{name}" for label in NAMES)),
            }
            for name in shared
        },
        "evaluations": {
            label: {name: each.summary[name] for name in ("checkpoints", "command", "predictions_sha256", "versions")}
            for label, each in zip(NAMES, (one, other), strict=True)
        },
        "training": {
            label if len(each.summary["training"]) == 1 else f"{label}, {run}": points
            for label, each in zip(NAMES, (one, other), strict=True)
            for run, points in each.summary["training"].items()
        },
        "classes": class_changes(one.summary, other.summary, "ten-crop" if "ten-crop" in shared else shared[0]),
    }


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


def class_changes(one: Mapping[str, Any], other: Mapping[str, Any], protocol: str) -> list[dict[str, Any]]:
    """By class that has samples: its top-1 error in A and in B, and B's less A's, the most improved first."""
    counts = [each["protocols"][protocol]["per_class"] for each in (one, other)]
    total = np.array(counts[0]["total"])
    wrong = [np.array(count["wrong_top1"]) for count in counts]
    labels = np.flatnonzero(total)
    order = labels[np.argsort((wrong[1] - wrong[0])[labels] / total[labels], kind="stable")]
    return [
        {
            "label": label,
            "words": short(Class(**one["classes"][label])),
            "total": int(total[label]),
            "A": float(wrong[0][label] / total[label]),
            "B": float(wrong[1][label] / total[label]),
            "change": float((wrong[1][label] - wrong[0][label]) / total[label]),
        }
        for label in order.tolist()
    ]
