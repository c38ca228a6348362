"""The report's facts that follow from predictions and checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imagefeed.jobs.evaluation.predictions import Part, joined, rank_classes
from imagefeed.jobs.evaluation.summary import checkpoint_facts, examples
from imagefeed.jobs.runs.checkpoints import read_checkpoint
from imagefeed.model.alexnet import AlexNet


def test_what_is_said_of_a_checkpoint_names_no_place(checkpoint: Path) -> None:
    content, digest = read_checkpoint(checkpoint)
    made: Any = {**content, "train_config": {"data": "/home/me/data", "out": "/home/me/run", "seed": 7}}
    found = checkpoint_facts(made, digest)
    assert (found.sha256, found.epoch, found.step, found.world_size) == (digest, 1, 2, 1)
    assert found.train_config == {"seed": 7}
    assert found.num_parameters == sum(each.numel() for each in AlexNet(**content["model_config"]).parameters())


def some_predictions() -> pa.Table:
    """Random ones, for 20 samples of 7 classes."""
    rng, ids = np.random.default_rng(3), np.arange(20)
    labels, keys = rng.integers(0, 7, 20), [f"key-{i}" for i in ids]
    scores = rank_classes(rng.dirichlet(np.ones(7), 20).astype(np.float32), labels)
    samples = pa.table({"id": ids, "key": keys, "label": labels.astype(np.int32)})
    return joined([Part(ids, labels, {"centre": scores})], samples)


def test_examples_are_spread_over_the_split() -> None:
    predictions = some_predictions()
    found = examples(predictions, "centre")
    assert [row.id for row in found] == [0, 2, 5, 8, 10, 13, 16, 19]
    for row, of in zip(found, predictions.take([row.id for row in found]).to_pylist(), strict=True):
        assert (row.key, row.label) == (of["key"], of["label"])
        assert [each.label for each in row.top] == of["centre_top_classes"]
        assert [each.probability for each in row.top] == of["centre_top_probabilities"]
    assert [row.id for row in examples(predictions.slice(0, 3), "centre")] == [0, 1, 2]
