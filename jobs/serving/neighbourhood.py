"""The images of an evaluation with features, to find those that a net holds for most like another one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.jobs.evaluation.crops import images_of
from imagefeed.jobs.evaluation.nearest import nearest
from imagefeed.jobs.report.pictures import data_url, thumbnail
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset

COLUMNS = ["id", "key", "label", "features"]


@dataclass(frozen=True)
class Neighbourhood:
    """n images: who they are, what the net makes of them, and the split that holds them."""

    table: pa.Table  # id, key, label
    features: np.ndarray  # float32 [n, units of the last hidden layer]
    classes: tuple[Class, ...]
    split: Dataset | None  # for the pictures; None: where it is not there

    def nearest(self, features: np.ndarray) -> list[dict[str, Any]]:
        """The images whose features (float32 [units]) are nearest, the nearest first."""
        near = nearest(features[None], self.features, np.arange(len(self.table)))
        found = self.table.take(near.ids[0]).to_pylist()
        pictures = images_of(self.split, [each["id"] for each in found]) if self.split is not None else {}
        return [
            {
                "key": each["key"],
                "words": self.classes[each["label"]].words or self.classes[each["label"]].wnid,
                "distance": distance,
                "picture": data_url(thumbnail(pictures[each["id"]])) if each["id"] in pictures else None,
            }
            for distance, each in zip(near.distances[0].tolist(), found, strict=True)
        ]


def open_neighbourhood(path: Path, split: Path, units: int, classes: tuple[Class, ...]) -> Neighbourhood:
    """From the predictions.parquet of an evaluation with features, of the images of `split`.

    Raises `FileNotFoundError`, or `ValueError` where there are no features, or of another net.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; jobs/evaluate.py --features writes one")
    try:
        schema = pq.read_schema(path)
        lacking = [name for name in COLUMNS if name not in schema.names]
        table = None if lacking else pq.read_table(path, columns=COLUMNS)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}): evaluate again with --features") from error
    if table is None or len(table) == 0:
        raise ValueError(f"{path} has no {', '.join(lacking) or 'rows'}: evaluate with --features")
    features = np.array(table["features"].combine_chunks().flatten(), np.float32).reshape(len(table), -1)
    if features.shape[1] != units:
        raise ValueError(f"{path} has {features.shape[1]} features an image, this net {units}: give the net's own")
    if table["label"].to_numpy().max() >= len(classes):
        raise ValueError(f"{path} has labels beyond the {len(classes)} classes of this net: give the net's own")
    try:
        dataset = open_dataset(split)
    except FileNotFoundError:
        dataset = None  # names will do
    return Neighbourhood(table.drop_columns("features"), features, classes, dataset)
