"""The report of checkpoints: what follows from their predictions for a split."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pyarrow as pa

from imagefeed.jobs.evaluation.crops import Dense
from imagefeed.jobs.evaluation.data_summary import data_facts
from imagefeed.jobs.evaluation.metrics import calibration, confusions, mcnemar, mistakes
from imagefeed.jobs.evaluation.metrics_by_property import error_by_property, properties_of
from imagefeed.jobs.evaluation.predictions import DESCRIPTION, column, entry_name, errors
from imagefeed.jobs.report.schema import (
    Chance,
    CheckpointFacts,
    ClassCounts,
    Curves,
    DenseCrops,
    ErrorRate,
    Example,
    Input,
    LabelProbability,
    MeasuredError,
    Neighbours,
    Protocol,
    ProtocolResult,
    Report,
    headline,
)
from imagefeed.jobs.runs.checkpoints import crop_size_of, recipe_of
from imagefeed.jobs.runs.versions import versions
from imagefeed.model.checkpoint import Checkpoint
from imagefeed.model.metrics import chance_error
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.kernel.recipes import values_of

NUM_EXAMPLES = 8  # samples shown with their predictions, as many as in the paper's Figure 4


def report_of(
    dataset: Split,
    train: Split,
    checkpoints: Sequence[Checkpoint],
    digests: Sequence[str],
    predictions: pa.Table,
    *,
    protocols: Sequence[Protocol],
    training: dict[str, Curves],
    dense: Dense | None,
    neighbours: Neighbours | None,
    predictions_sha256: str,
    command: str,
    device: str,
) -> Report:
    """The errors and analyses of every net by every protocol, which net is better, some examples, and their origin.

    `digests` are the SHA-256 of the checkpoints' files, `predictions` the content of predictions.parquet.
    """
    num_classes = len(dataset.classes)
    members = range(1, len(checkpoints) + 1) if len(checkpoints) > 1 else range(0)
    properties = properties_of(dataset.samples, predictions)
    return Report(
        split=dataset.manifest.split,
        num_samples=len(dataset),
        num_quarantined=dataset.manifest.num_quarantined,
        num_classes=num_classes,
        classes=dataset.classes,
        input=Input(crop_size=crop_size_of(checkpoints[0]), **values_of(recipe_of(checkpoints[0]))),
        chance=Chance(
            top1=ErrorRate(error=chance_error(num_classes, 1)), top5=ErrorRate(error=chance_error(num_classes, 5))
        ),
        protocols={
            entry_name(protocol, net): protocol_result(predictions, protocol, net, num_classes, properties)
            for net in (0, *members)
            for protocol in protocols
        },
        checkpoints=tuple(
            checkpoint_facts(checkpoint, digest) for checkpoint, digest in zip(checkpoints, digests, strict=True)
        ),
        comparisons=tuple(
            mcnemar(predictions, *(entry_name(protocol, net) for net in pair))
            for protocol in protocols
            for pair in combinations(members, 2)
        ),
        examples=examples(predictions, headline(protocols)),
        data=data_facts(dataset, train),
        training=training,
        dense=DenseCrops(**asdict(dense)) if dense else None,
        neighbours=neighbours,
        predictions_sha256=predictions_sha256,
        command=command,
        device=device,
        versions=versions("torch", "numpy", "pyarrow", "ray"),
    )


def protocol_result(
    predictions: pa.Table, protocol: Protocol, net: int, num_classes: int, properties: Mapping[str, np.ndarray]
) -> ProtocolResult:
    """The errors and analyses of a net (0: the answer) by a protocol."""
    name = entry_name(protocol, net)
    return ProtocolResult(
        protocol=protocol,
        net=net,
        description=DESCRIPTION[protocol],
        top1=measured_error(predictions, name, 1),
        top5=measured_error(predictions, name, 5),
        per_class=per_class(predictions, name, num_classes),
        by_property=error_by_property(properties, predictions, name),
        calibration=calibration(predictions, name),
        confusions=confusions(predictions, name),
        mistakes=mistakes(predictions, name),
    )


def measured_error(predictions: pa.Table, entry: str, top: int) -> MeasuredError:
    """The top-`top` error of an entry with its interval."""
    counted = errors(predictions, entry, top)
    low, high = counted.interval()
    return MeasuredError(wrong=counted.wrong, total=counted.total, error=counted.error, low=low, high=high)


def per_class(predictions: pa.Table, entry: str, num_classes: int) -> ClassCounts:
    """Of each class, by label: how many samples it has, and how many of them are wrong in the top-1 and top-5."""
    labels = predictions["label"].to_numpy()
    ranks = predictions[column(entry, "true_rank")].to_numpy()

    def counts(of: np.ndarray) -> tuple[int, ...]:
        return tuple(np.bincount(of, minlength=num_classes).tolist())

    return ClassCounts(total=counts(labels), wrong_top1=counts(labels[ranks > 1]), wrong_top5=counts(labels[ranks > 5]))


def examples(predictions: pa.Table, entry: str, number: int = NUM_EXAMPLES) -> tuple[Example, ...]:
    """Some samples, evenly spread over the split, with their likeliest classes."""
    rows = np.linspace(0, len(predictions) - 1, min(number, len(predictions))).astype(int)
    return tuple(
        Example(
            id=row["id"],
            key=row["key"],
            label=row["label"],
            top=tuple(
                LabelProbability(label=label, probability=probability)
                for label, probability in zip(
                    row[column(entry, "top_classes")], row[column(entry, "top_probabilities")], strict=True
                )
            ),
        )
        for row in predictions.take(rows).to_pylist()
    )


def checkpoint_facts(checkpoint: Checkpoint, digest: str) -> CheckpointFacts:
    """What was judged: a checkpoint's content without its weights and without the paths of where it was made."""
    paths = ("data", "out", "resume")
    return CheckpointFacts(
        sha256=digest,
        epoch=checkpoint["epoch"],
        step=checkpoint["step"],
        num_parameters=sum(tensor.numel() for tensor in checkpoint["model"].values()),
        model_config=checkpoint["model_config"],
        train_config={name: value for name, value in checkpoint["train_config"].items() if name not in paths},
        world_size=checkpoint["world_size"],
        versions=checkpoint["versions"],
    )
