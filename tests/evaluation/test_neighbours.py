"""The nearest training images: the nearest there are, however the training split is cut into slices."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.jobs.evaluation.neighbours import Nearest, described, merged, nearest, query_ids
from imagefeed.jobs.evaluation.scorer import features
from imagefeed.model.alexnet import AlexNet
from imagefeed.pipeline.loader.dataset import open_dataset


@given(st.integers(0, 2**32), st.integers(1, 40), st.lists(st.integers(0, 40), max_size=4))
def test_the_nearest_are_those_of_a_slow_search_in_any_slices(seed: int, number: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    queries, rows = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=(number, 5)).astype(np.float32)
    ids = rng.permutation(1000)[:number]
    bounds = sorted({0, number, *(cut for cut in cuts if cut < number)})
    parts = [nearest(queries, rows[a:b], ids[a:b], own=[int(ids[0])]) for a, b in zip(bounds, bounds[1:])]  # noqa: B905, RUF007
    found = merged([parts[i] for i in rng.permutation(len(parts))])
    assert found.num_searched == number
    for place, query in enumerate(queries.astype(float)):
        slow = sorted((float(np.sqrt(((query - row) ** 2).sum())), int(i)) for row, i in zip(rows, ids, strict=True))
        slow = [pair for pair in slow if pair[1] != ids[0]][:6]
        assert found.ids[place].tolist() == [i for _, i in slow]
        np.testing.assert_allclose(found.distances[place], [distance for distance, _ in slow], rtol=1e-6, atol=1e-6)


def test_equally_near_ones_come_by_id() -> None:
    same = np.ones((4, 2), np.float32)
    parts = [nearest(same[:1], same[:2], np.array([9, 3])), nearest(same[:1], same[2:], np.array([7, 1]))]
    assert merged(parts).ids.tolist() == merged(parts[::-1]).ids.tolist() == [[1, 3, 7, 9]]


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
    rows = described(val, train, queries, Nearest(ids, distances, len(train)))["queries"]
    samples = train.samples.to_pylist()
    assert [row["key"] for row in rows[1]["nearest"]] == [samples[i]["key"] for i in range(6, 12)]
    with pytest.raises(ValueError, match="27 of 28 images of .*train were searched"):
        described(val, train, queries, Nearest(ids, distances, len(train) - 1))
