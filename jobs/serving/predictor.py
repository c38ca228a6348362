"""What nets say of an image file that is in no dataset, exactly as an evaluation would have judged it.

    predictor = open_predictor([Path("/runs/a/checkpoint-best.pt")], data=None, protocol="ten-crop")
    predictor.predict([predictor.prepare(Path("cat.jpg").read_bytes())])

The file is prepared as the conversion of the training data did it, resized and encoded, then cropped by the loader's
own kernel and judged by the evaluation's own function: the same image in a split gives the same probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagefeed.jobs.evaluation.scorer import centre_crop, exactly, features, ready, score_batch
from imagefeed.jobs.report.schema import Protocol
from imagefeed.jobs.runs.checkpoints import check_fit, check_together, crop_size_of, in_run, read_checkpoint, recipe_of
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import Checkpoint
from imagefeed.pipeline.dataset.manifest import MANIFEST, Class, Manifest
from imagefeed.pipeline.files.paths import home
from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.image.stored import Storage
from imagefeed.pipeline.image.transcoder import Transcoder
from imagefeed.pipeline.loader.augmenter import Augmenter
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset
from imagefeed.pipeline.loader.normalization import values_for
from imagefeed.pipeline.loader.options import LoaderOptions

AS_FOUND = Storage(resize="none", size=0, encoding="as found", quality=None, codec="")  # of shards that others made


@dataclass(frozen=True)
class Guess:
    """One of the likeliest classes of an image."""

    wnid: str
    words: str
    probability: float


class Prepared(NamedTuple):
    """An image as the nets are shown it."""

    pixels: np.ndarray  # uint8 [H, W, 3], as the dataset would store it
    crops: Tensor  # float32 [3, S, S], or [10, 3, S, S]


class Inside(NamedTuple):
    """What happens within a net."""

    conv1: np.ndarray  # float32 [maps, 55, 55], after ReLU
    features: np.ndarray  # float32 [4096] at width 1: what the last layer is given


class Predictor:
    """Nets in memory, all fed the same crops; of several the answer is their ensemble's. For one thread at a time."""

    def __init__(self, checkpoints: Sequence[Checkpoint], train: Dataset, protocol: Protocol, device: str) -> None:
        exactly()
        self.classes: tuple[Class, ...] = train.classes
        self.protocol: Protocol = protocol
        self.data = train.path.parent
        self.about = described(checkpoints, len(train.classes), protocol)
        self.nets: list[AlexNet] = [
            ready(checkpoint["model_config"], checkpoint["model"], device) for checkpoint in checkpoints
        ]
        storage = train.manifest.storage or AS_FOUND
        self._preparer = Transcoder(storage, decode_all=True, for_beton=train.manifest.format == "beton")
        # Of images of one size each pixel has a mean of its own.
        self._size = train.mean_image.shape[:2] if train.has_mean_image else None
        self._stage = Augmenter(
            train,
            LoaderOptions(
                recipe="ten-crop" if protocol == "ten-crop" else "eval",
                crop_size=crop_size_of(checkpoints[0]),
                rank=0,
                world_size=1,
                **values_for(train, recipe_of(checkpoints[0]), crop_size_of(checkpoints[0])),
            ),
        )

    def prepare(self, data: bytes) -> Prepared:
        """The image file `data`, ready to be judged. Raises `codec.BadImage` where it cannot be."""
        pixels = self._preparer.prepare(data).pixels
        assert pixels is not None  # it looks
        if self._size and pixels.shape[:2] != self._size:
            (height, width), (given_height, given_width) = self._size, pixels.shape[:2]
            raise BadImage(
                f"it has {given_height}x{given_width} pixels, and the nets know images of {height}x{width} alone"
            )
        try:
            crops = self._stage([pixels], np.zeros(1, np.int64), epoch=0)[0]
        except ValueError as error:
            height, width = pixels.shape[:2]
            raise BadImage(f"its {height}x{width} pixels are fewer than the crops that the nets are shown") from error
        return Prepared(pixels.copy(), crops)  # the preparer's memory is the next image's

    def predict(self, images: Sequence[Prepared]) -> list[list[Guess]]:
        """The likeliest classes of each image, at most five. `ValueError` where a net gives no finite numbers."""
        crops, number = torch.stack([image.crops for image in images]), len(images)
        nobody = torch.zeros(number, dtype=torch.int64)  # labels, which nobody asks for
        batch = Batch(crops, nobody, torch.arange(number), torch.ones(number, dtype=torch.bool))
        scores = score_batch(self.nets, batch, (self.protocol,)).scores[self.protocol]
        return [
            [
                Guess(self.classes[label].wnid, self.classes[label].words, probability)
                for label, probability in zip(labels, probabilities, strict=True)
            ]
            for labels, probabilities in zip(
                scores.top_classes.tolist(), scores.top_probabilities.tolist(), strict=True
            )
        ]

    def inside(self, image: Prepared) -> Inside:
        """What the first net makes of the centre crop on the way to its answer."""
        net = self.nets[0]
        kept: list[Tensor] = []
        hook = net.conv1.register_forward_hook(lambda _net, _given, maps: kept.append(maps.relu()))
        try:
            (last,) = features(net, centre_crop(image.crops[None], image.crops.shape[-1]))
        finally:
            hook.remove()
        return Inside(kept[0][0].cpu().numpy(), last)


def open_predictor(
    paths: Sequence[Path], *, data: Path | None, protocol: Protocol, device: str = "cpu", other_data: bool = False
) -> Predictor:
    """The predictor of some checkpoints (or folders of runs) and of the data that they were trained on.

    Of the data only the tables of `train` are read, no shard. `data` None: where the checkpoint says that they were.
    Raises `FileNotFoundError` and `ValueError` where something is missing, damaged or does not fit.
    """
    files = [in_run(path) for path in paths]
    read = [read_checkpoint(path) for path in files]
    checkpoints, digests = [checkpoint for checkpoint, _ in read], [digest for _, digest in read]
    folder = data if data is not None else training_data(files[0], checkpoints[0])
    train = Dataset(folder / "train", Manifest.load(folder / "train"))  # `open_dataset` would ask for the shards
    for path, checkpoint in zip(files, checkpoints, strict=True):
        check_fit(path, checkpoint, folder, train.manifest, train, other_data)
    check_together(files, checkpoints, digests)
    return Predictor(checkpoints, train, protocol, device)


def described(checkpoints: Sequence[Checkpoint], num_classes: int, protocol: Protocol) -> str:
    """A line on some nets and how they are asked."""
    epochs = ", ".join(str(checkpoint["epoch"]) for checkpoint in checkpoints)
    nets = f"a net after epoch {epochs}" if len(checkpoints) == 1 else f"{len(checkpoints)} nets after epochs {epochs}"
    crops = {"centre": "the centre crop", "ten-crop": "the mean over ten crops"}[protocol]
    return f"By {nets}, {num_classes:,} classes; {crops}."


def training_data(path: Path, checkpoint: Checkpoint) -> Path:
    """The folder with the splits that a checkpoint was trained on. `FileNotFoundError` where they are not there."""
    said = checkpoint["train_config"].get("data")
    places = [Path(said)] if said else [path.absolute().parents[1] / "shards", home() / "shards"]  # the sample data
    for place in places:
        if (place / "train" / MANIFEST).is_file():
            return place
    raise FileNotFoundError(
        f"{path} was trained on {places[0]}, which is not here: give --data, a folder with the tables of its `train` "
        f"({MANIFEST}, samples.parquet, mean_image.npy); the shards are not needed"
    )
