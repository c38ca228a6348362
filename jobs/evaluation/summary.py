"""What report.json says of checkpoints, in numbers: what follows from their predictions for a split."""

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from imagefeed.jobs.evaluation.metrics import calibration, confusions, mcnemar, mistakes
from imagefeed.jobs.evaluation.metrics_by_property import error_by_property, properties_of
from imagefeed.jobs.evaluation.predictions import DESCRIPTION, Protocol, column, entry_name, errors
from imagefeed.jobs.runs.checkpoints import crop_size_of, recipe_of
from imagefeed.model.checkpoint import Checkpoint
from imagefeed.model.metrics import chance_error
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.kernel.recipes import values_of

NUM_EXAMPLES = 8  # samples shown with their predictions, as many as in the paper's Figure 4


def summary_of(
    dataset: Split,
    checkpoints: Sequence[Checkpoint],
    digests: Sequence[str],
    predictions: pa.Table,
    protocols: Sequence[Protocol],
) -> dict[str, Any]:
    """The errors and analyses of every net by every protocol, who is better, and some examples.

    `digests` are the SHA-256 of the checkpoints' files, `predictions` the content of predictions.parquet.
    """
    members = range(1, len(checkpoints) + 1) if len(checkpoints) > 1 else range(0)
    properties = properties_of(dataset.samples, predictions)
    return {
        "split": dataset.manifest.split,
        "num_samples": len(dataset),
        "num_quarantined": dataset.manifest.num_quarantined,
        "num_classes": len(dataset.classes),
        "classes": [asdict(each) for each in dataset.classes],
        "input": {"crop_size": crop_size_of(checkpoints[0]), **values_of(recipe_of(checkpoints[0]))},
        "chance": {f"top{k}": {"error": chance_error(len(dataset.classes), k)} for k in (1, 5)},
        "protocols": {
            entry_name(protocol, net): judged(predictions, protocol, net, len(dataset.classes), properties)
            for net in (0, *members)
            for protocol in protocols
        },
        "checkpoints": [described(checkpoint, digest) for checkpoint, digest in zip(checkpoints, digests, strict=True)],
        "comparisons": [
            mcnemar(predictions, *(entry_name(protocol, net) for net in pair))
            for protocol in protocols
            for pair in combinations(members, 2)
        ],
        "examples": examples(predictions, headline(protocols)),
    }


def headline(protocols: Sequence[Protocol]) -> Protocol:
    """The protocol whose errors stand at the top: the paper's ten crops, where they were asked for."""
    return "ten-crop" if "ten-crop" in protocols else protocols[0]


def judged(
    predictions: pa.Table, protocol: Protocol, net: int, num_classes: int, properties: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """What report.json says of a net (0: the answer) by a protocol."""
    name = entry_name(protocol, net)
    entry: dict[str, Any] = {"protocol": protocol, "net": net, "description": DESCRIPTION[protocol]}
    for k in (1, 5):
        counted = errors(predictions, name, k)
        low, high = counted.interval()
        entry[f"top{k}"] = {**asdict(counted), "error": counted.error, "low": low, "high": high}
    analyses: dict[str, Callable[[pa.Table, str], Any]] = {
        "calibration": calibration,
        "confusions": confusions,
        "mistakes": mistakes,
    }
    return entry | {
        "per_class": per_class(predictions, name, num_classes),
        "by_property": error_by_property(properties, predictions, name),
        **{what: analyse(predictions, name) for what, analyse in analyses.items()},
    }


def per_class(predictions: pa.Table, entry: str, num_classes: int) -> dict[str, list[int]]:
    """Of each class, by label: how many samples it has, and how many of them are wrong in the top-1 and top-5."""
    labels = predictions["label"].to_numpy()
    ranks = predictions[column(entry, "true_rank")].to_numpy()
    chosen = {"total": labels, "wrong_top1": labels[ranks > 1], "wrong_top5": labels[ranks > 5]}
    return {name: np.bincount(of, minlength=num_classes).tolist() for name, of in chosen.items()}


def examples(predictions: pa.Table, entry: str, number: int = NUM_EXAMPLES) -> list[dict[str, Any]]:
    """Some samples, evenly spread over the split, with their likeliest classes."""
    rows = np.linspace(0, len(predictions) - 1, min(number, len(predictions))).astype(int)
    return [
        {name: row[name] for name in ("id", "key", "label")}
        | {
            "top": [
                {"label": label, "probability": probability}
                for label, probability in zip(
                    row[column(entry, "top_classes")], row[column(entry, "top_probabilities")], strict=True
                )
            ]
        }
        for row in predictions.take(rows).to_pylist()
    ]


def described(checkpoint: Checkpoint, digest: str) -> dict[str, Any]:
    """What was judged: a checkpoint's content without its weights and without the paths of where it was made."""
    paths = ("data", "out", "resume")
    return {
        "sha256": digest,
        "epoch": checkpoint["epoch"],
        "step": checkpoint["step"],
        "num_parameters": sum(tensor.numel() for tensor in checkpoint["model"].values()),
        "model_config": checkpoint["model_config"],
        "train_config": {name: value for name, value in checkpoint["train_config"].items() if name not in paths},
        "world_size": checkpoint["world_size"],
        "versions": checkpoint["versions"],
    }


def versions() -> dict[str, str]:
    """The versions that the numbers were made with."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "pyarrow", "ray")}
    return {"python": platform.python_version(), **packages}
