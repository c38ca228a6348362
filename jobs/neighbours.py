"""Figure 4's right half: some images of a split, and the training images that the net holds for most like them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jobs.cluster import on_actors
from jobs.searcher import Nearest, Searcher, SearchOptions, merged
from model.checkpoint import Checkpoint
from pipeline import Dataset
from pipeline.progress import track

NUM_QUERIES = 5  # as many as the paper shows


def query_ids(dataset: Dataset, number: int = NUM_QUERIES) -> tuple[int, ...]:
    """Some samples, evenly spread over the split, and not those of `jobs.judgement.examples` where it is large."""
    number = min(number, len(dataset))
    rows = ((np.arange(number) + 0.5) * len(dataset) / number).astype(int)
    return tuple(dataset.columns.id[rows].tolist())


def neighbours(
    dataset: Dataset, train: Dataset, options: SearchOptions, checkpoint: Checkpoint, num_actors: int
) -> dict[str, Any]:
    """What report.json says of them, from actors on the connected cluster. The result is the same for any number."""
    parts: list[Nearest] = []

    def counts() -> Iterator[int]:
        for part in found(options, num_actors, checkpoint):
            parts.append(part)
            yield part.num_searched

    for _ in track(counts(), len(train), "searched", "images"):
        pass
    return described(dataset, train, options.query_ids, merged(parts))


def found(options: SearchOptions, num_actors: int, checkpoint: Checkpoint) -> Iterator[Nearest]:
    """What all slices hold, as they come."""
    import ray  # only once `connected` has set what Ray reads at its import

    actor = ray.remote(num_cpus=options.threads, num_gpus=int(options.device == "cuda"))(Searcher)
    state = ray.put(checkpoint["model"])

    def hire() -> Any:
        return actor.remote(options, checkpoint["model_config"], state)

    return on_actors(hire, min(num_actors, options.num_slices), "search", range(options.num_slices))


def described(dataset: Dataset, train: Dataset, queries: tuple[int, ...], nearest: Nearest) -> dict[str, Any]:
    """The queries and their nearest images with key and label. `ValueError` unless all of `train` was searched."""
    if nearest.num_searched != len(train):
        raise ValueError(f"{nearest.num_searched} of {len(train)} images of {train.path} were searched: evaluate again")

    def named(of: Dataset, number: int) -> dict[str, Any]:
        row = int(np.searchsorted(of.columns.id, number))
        return {"id": number, "key": of.samples["key"][row].as_py(), "label": int(of.columns.label[row])}

    return {
        "num_searched": nearest.num_searched,
        "queries": [
            named(dataset, query)
            | {"nearest": [named(train, i) | {"distance": d} for i, d in zip(ids, distances, strict=True)]}
            for query, ids, distances in zip(queries, nearest.ids.tolist(), nearest.distances.tolist(), strict=True)
        ],
    }
