"""The nearest training images: by what features, of which samples, and all of the split or none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imagefeed.jobs.evaluation.nearest import Nearest
from imagefeed.jobs.evaluation.neighbours import named, query_ids
from imagefeed.jobs.evaluation.scorer import features
from imagefeed.model.alexnet import AlexNet
from imagefeed.pipeline.loader.dataset import open_dataset


def test_features_are_what_the_last_layer_is_given() -> None:
    torch.manual_seed(0)
    net = AlexNet(num_classes=7, width=0.05, initialisation="he").eval()
    crops = 60 * torch.randn(2, 3, 224, 224)
    given: list[torch.Tensor] = []
    net.fc8.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        net(crops)
    np.testing.assert_array_equal(features(net, crops), given[0].numpy())
    assert given[0].shape == (2, net.fc8.in_features)


def test_queries_are_samples_spread_over_the_split_and_a_short_search_is_an_error(shards: Path) -> None:
    train, val = (open_dataset(shards / "tar" / split) for split in ("train", "val"))
    queries = query_ids(val)
    assert queries == (0, 2, 4, 6, 8)
    ids, distances = np.arange(30).reshape(5, 6) % len(train), np.zeros((5, 6))
    rows = named(val, train, queries, Nearest(ids, distances, len(train))).queries
    samples = train.samples.to_pylist()
    assert [row.key for row in rows[1].nearest] == [samples[i]["key"] for i in range(6, 12)]
    with pytest.raises(ValueError, match="27 of 28 images of .*train were searched"):
        named(val, train, queries, Nearest(ids, distances, len(train) - 1))
