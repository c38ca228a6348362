"""An evaluation that was never made, for the tests of its page: random numbers in the place of a net's."""

from typing import Any

import numpy as np
import pyarrow as pa

from imagefeed.jobs.evaluation.curves import Record, training_curves
from imagefeed.jobs.evaluation.predictions import Part, Scores, joined, rank_classes
from imagefeed.jobs.evaluation.summary import examples, protocol_result
from imagefeed.jobs.report.evaluation_page import ReportInputs, neighbour_ids, shown_ids
from imagefeed.jobs.report.schema import (
    Chance,
    CheckpointFacts,
    Data,
    ErrorRate,
    HistogramBin,
    ImageSize,
    Input,
    NearImage,
    Neighbours,
    PixelStatistics,
    Protocol,
    Query,
    Report,
    SplitFacts,
)
from imagefeed.pipeline.dataset.manifest import Class

NUM_SAMPLES = 120
PROTOCOLS: tuple[Protocol, ...] = ("centre", "ten-crop")


def made_up_report(num_classes: int = 12) -> Report:
    """Random numbers in the place of a net's: nothing here was ever measured."""
    rng = np.random.default_rng(0)
    labels = np.arange(NUM_SAMPLES) % num_classes
    probabilities = rng.dirichlet(np.ones(num_classes), NUM_SAMPLES).astype(np.float32)
    scores: dict[str, Scores] = {protocol: rank_classes(probabilities, labels) for protocol in PROTOCOLS}
    keys = [f"val/{i:03d}" for i in range(NUM_SAMPLES)]
    samples = pa.table({"id": np.arange(NUM_SAMPLES), "key": keys, "label": labels.astype(np.int32)})
    predictions = joined([Part(np.arange(NUM_SAMPLES), labels, scores)], samples)
    properties = {"brightness": rng.uniform(0, 255, NUM_SAMPLES), "bytes": np.full(NUM_SAMPLES, 99.0)}
    return Report(
        split="val",
        num_samples=NUM_SAMPLES,
        num_quarantined=1,
        num_classes=num_classes,
        classes=tuple(Class(f"n{i:08d}", f"made-up class {i}, second name") for i in range(num_classes)),
        input=Input(crop_size=224, mean="window", normalize=False),
        chance=Chance(top1=ErrorRate(error=1 - 1 / num_classes), top5=ErrorRate(error=1 - 5 / num_classes)),
        protocols={
            protocol: protocol_result(predictions, protocol, 0, num_classes, properties) for protocol in PROTOCOLS
        },
        checkpoints=(
            CheckpointFacts(
                sha256="c" * 64,
                epoch=3,
                step=30,
                num_parameters=1234567,
                model_config={"num_classes": num_classes, "width": 0.25},
                train_config={"recipe": "alexnet", "seed": 7},
                world_size=2,
                versions={"torch": "0.1"},
            ),
        ),
        comparisons=(),
        examples=examples(predictions, "ten-crop"),
        data=Data(
            digest="d" * 64,
            train_digest="e" * 64,
            splits={"train": made_up_split(labels, num_samples=9876), "val": made_up_split(labels)},
            pixels=PixelStatistics(
                num_pixels=10**6,
                mean=(124.1, 117.2, 103.3),
                deviation=(58.1, 57.2, 57.3),
                eigenvalues=(9000.0, 300.0, 30.0),
                eigenvectors=((0.571, -0.712, 0.408), (0.581, -0.001, -0.814), (0.58, 0.702, 0.413)),
            ),
        ),
        training={"net 1": training_curves(made_up_metrics())},
        dense=None,
        neighbours=made_up_neighbours(num_classes),
        predictions_sha256="f" * 64,
        command="python jobs/evaluate.py --made-up",
        device="cpu",
        versions={"torch": "0.0"},
    )


def made_up_inputs(num_classes: int = 12, num_kernels: int = 24) -> ReportInputs:
    """That report with random pictures."""
    rng, report = np.random.default_rng(1), made_up_report(num_classes)
    return ReportInputs(
        report=report,
        kernels=rng.normal(size=(num_kernels, 3, 11, 11)).astype(np.float32),
        mean_image=rng.uniform(100, 150, (256, 256, 3)),
        images={i: rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for i in shown_ids(report)},
        train_images={i: rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for i in neighbour_ids(report)},
    )


def made_up_split(labels: np.ndarray, num_samples: int = NUM_SAMPLES) -> SplitFacts:
    return SplitFacts(
        num_samples=num_samples,
        num_quarantined=1,
        format="tar",
        num_shards=2,
        shard_bytes=10**6,
        image_bytes=900_000,
        images_a_class=tuple(np.bincount(labels).tolist()),
        sizes=(ImageSize(height=256, width=256, total=NUM_SAMPLES),),
        num_sizes=1,
        histogram=(
            HistogramBin(low=5e3, high=6e3, total=50, share=0.4),
            HistogramBin(low=6e3, high=7e3, total=70, share=0.6),
        ),
    )


def made_up_neighbours(num_classes: int) -> Neighbours:
    def row(number: int) -> dict[str, Any]:
        return {"id": number, "key": f"key-{number}", "label": number % num_classes}

    queries = tuple(
        Query(**row(q), nearest=tuple(NearImage(**row(7 * q + i), distance=0.5 + i) for i in range(6)))
        for q in (3, 50, 117)
    )
    return Neighbours(num_searched=9876, queries=queries)


def made_up_metrics() -> list[Record]:
    figures = {"top1_error": 0.9, "top5_error": 0.5, "lr": 0.01, "images_per_second": 800.0, "waiting": 0.02}
    train = [{"kind": "train", "epoch": 1 + s // 10, "step": s, "loss": 3 - s / 20, **figures} for s in range(1, 31)]
    val = [
        {"kind": "val", "epoch": e, "step": 10 * e, "loss": 3 - e / 2, "top1_error": 0.9 - e / 5, "top5_error": 0.2}
        for e in (1, 2, 3)
    ]
    return [*train, *val]
