"""Which training images are most like some others, by the last hidden layer: the paper's Figure 4, right half.

As one Ray actor does it: a slice of the training split goes through the net, and its nearest images are handed back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagefeed.jobs.cluster.work import hiring, on_actors
from imagefeed.jobs.evaluation.crops import centre_crops
from imagefeed.jobs.evaluation.nearest import Nearest, merged, nearest
from imagefeed.jobs.evaluation.scorer import Device, exactly, features, ready
from imagefeed.jobs.report.schema import NearImage, Neighbours, Query
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import Checkpoint
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.normalization import values_for
from imagefeed.pipeline.runtime.progress import track

NUM_QUERIES = 5  # as many as the paper shows


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What all searchers have in common."""

    queries: Path  # the split that the query images are of
    query_ids: tuple[int, ...]
    train: Path  # the split that is searched
    recipe: str  # that the net was trained with
    crop_size: int  # pixels
    batch_size: int  # images
    num_slices: int
    threads: int
    device: Device


class Searcher:
    """A net in memory and two open splits. Slices are those that rank s of `num_slices` would be fed in an epoch."""

    def __init__(self, options: SearchOptions, model_config: dict[str, Any], state: dict[str, Tensor]) -> None:
        torch.set_num_threads(options.threads)
        exactly()
        self.options, self.model_config, self.state = options, model_config, state

    @cached_property
    def train(self) -> Dataset:
        """The split that is searched."""
        return open_dataset(self.options.train)

    @cached_property
    def net(self) -> AlexNet:
        """The net, ready to be used."""
        return ready(self.model_config, self.state, self.options.device)

    @cached_property
    def queries(self) -> np.ndarray:
        """The features of the query images, float32 [q, 4096]."""
        split = open_dataset(self.options.queries)
        options = {
            "crop_size": self.options.crop_size,
            **values_for(split, self.options.recipe, self.options.crop_size),
        }
        return features(self.net, centre_crops(split, self.options.query_ids, **options))

    def search(self, number: int) -> Nearest:
        """The nearest images of slice `number`. The loader's errors name the shard and the sample."""
        loader = self.train.loader(
            recipe="eval",
            shuffle=False,
            crop_size=self.options.crop_size,
            **values_for(self.train, self.options.recipe, self.options.crop_size),
            batch_size=self.options.batch_size,
            rank=number,
            world_size=self.options.num_slices,
            num_threads=self.options.threads,
        )
        ids, rows = [], []
        for batch in loader:
            valid = batch.valid.numpy()
            if valid.any():
                ids.append(batch.sample_ids.numpy()[valid])
                rows.append(features(self.net, batch.images)[valid])
        # An image is no neighbour of itself, where the queries are training images.
        own = self.options.query_ids if self.options.queries == self.options.train else ()
        return nearest(self.queries, np.concatenate(rows), np.concatenate(ids), own)


def query_ids(dataset: Dataset, number: int = NUM_QUERIES) -> tuple[int, ...]:
    """Some samples, evenly spread over the split, and not those of `summary.examples` where it is large."""
    number = min(number, len(dataset))
    rows = ((np.arange(number) + 0.5) * len(dataset) / number).astype(int)
    return tuple(dataset.columns.id[rows].tolist())


def neighbours(
    dataset: Dataset, train: Dataset, options: SearchOptions, checkpoint: Checkpoint, num_actors: int
) -> Neighbours:
    """The queries' nearest images, from actors on the connected cluster. The result is the same for any number."""
    parts: list[Nearest] = []

    def counts() -> Iterator[int]:
        for part in found(options, num_actors, checkpoint):
            parts.append(part)
            yield part.num_searched

    for _ in track(counts(), len(train), "searched", "images"):
        pass
    return named(dataset, train, options.query_ids, merged(parts))


def found(options: SearchOptions, num_actors: int, checkpoint: Checkpoint) -> Iterator[Nearest]:
    """What all slices hold, as they come."""
    hire = hiring(
        Searcher,
        options,
        checkpoint["model_config"],
        shared=checkpoint["model"],
        num_cpus=options.threads,
        num_gpus=int(options.device == "cuda"),
    )
    return on_actors(hire, min(num_actors, options.num_slices), "search", range(options.num_slices))


def named(dataset: Dataset, train: Dataset, queries: tuple[int, ...], nearest: Nearest) -> Neighbours:
    """The queries and their nearest images with key and label. `ValueError` unless all of `train` was searched."""
    if nearest.num_searched != len(train):
        raise ValueError(f"{nearest.num_searched} of {len(train)} images of {train.path} were searched: evaluate again")

    def sample(of: Dataset, number: int) -> dict[str, Any]:
        row = int(np.searchsorted(of.columns.id, number))
        return {"id": number, "key": of.samples["key"][row].as_py(), "label": int(of.columns.label[row])}

    return Neighbours(
        num_searched=nearest.num_searched,
        queries=tuple(
            Query(
                **sample(dataset, query),
                nearest=tuple(NearImage(**sample(train, i), distance=d) for i, d in zip(ids, distances, strict=True)),
            )
            for query, ids, distances in zip(queries, nearest.ids.tolist(), nearest.distances.tolist(), strict=True)
        ),
    )
