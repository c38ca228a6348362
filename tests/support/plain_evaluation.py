"""An evaluation in plain loops, without loader, batches or Ray: Pillow, slices, and one crop at a time."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imagefeed.jobs.evaluation.crops import Dense
from imagefeed.jobs.report.schema import Protocol
from imagefeed.model.alexnet import AlexNet
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.dataset.tables import read_mean_image, read_samples


def stored_images(data: Path, split: str) -> Iterator[np.ndarray]:
    """The images of a split, uint8 [H, W, 3], as Pillow decodes them, in the order of its table."""
    manifest = Manifest.load(data / split)
    for sample in read_samples(data / split).to_pylist():
        shard = data / split / manifest.shards[sample["shard"]].name
        payload = shard.read_bytes()[sample["offset"] :][: sample["size"]]
        yield np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))


def slow_views(pixels: np.ndarray, mean: np.ndarray, dense: Dense) -> list[np.ndarray]:
    """The crops [3, 224, 224] of one image: each channel less its mean, scaled by Pillow in floating point, cut out."""
    views = []
    for side in dense.sides:
        channels = [Image.fromarray((pixels[:, :, c] - mean[:, :, c]).astype(np.float32)) for c in range(3)]
        scaled = np.stack([np.asarray(each.resize((side, side), Image.Resampling.BILINEAR)) for each in channels])
        begins = [0, side - 224]
        crops = [scaled[:, top : top + 224, left : left + 224] for top in begins for left in begins]
        views += [*crops, *(crop[:, :, ::-1] for crop in crops)]
    return views


def plain_loop(checkpoint: Path, data: Path, dense: Dense) -> dict[Protocol, np.ndarray]:
    """The probabilities of all samples, [n, classes], without loader, batches or Ray: Pillow, slices and a loop."""
    content = torch.load(checkpoint, weights_only=True)
    net = AlexNet(**content["model_config"]).eval()
    net.load_state_dict(content["model"])
    mean = read_mean_image(data / "train")
    rows: dict[Protocol, list[torch.Tensor]] = {"centre": [], "ten-crop": [], "dense": []}

    def outputs(crops: Sequence[np.ndarray]) -> torch.Tensor:
        with torch.no_grad():
            each = [net(torch.tensor(crop.copy(), dtype=torch.float32)[None])[0].softmax(0) for crop in crops]
        return torch.stack(each)

    for pixels in stored_images(data, "val"):
        image = (pixels - mean).transpose(2, 0, 1)
        windows = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
        crops = [image[:, y : y + 224, x : x + 224] for y, x in windows]
        ten = outputs([*crops, *(crop[:, :, ::-1] for crop in crops)])
        rows["centre"].append(ten[4])
        rows["ten-crop"].append(ten.mean(0))
        rows["dense"].append(outputs(slow_views(pixels, mean, dense)).mean(0))
    return {protocol: torch.stack(each).numpy() for protocol, each in rows.items()}


def plain_features(checkpoint: Path, data: Path, split: str) -> np.ndarray:
    """What the last layer is given for the centre crop of each sample of a split, [n, hidden], one by one."""
    content = torch.load(checkpoint, weights_only=True)
    net = AlexNet(**content["model_config"]).eval()
    net.load_state_dict(content["model"])
    mean, rows = read_mean_image(data / "train"), []
    for pixels in stored_images(data, split):
        image = (pixels - mean)[16:240, 16:240]
        with torch.no_grad():
            rows.append(net.features(torch.tensor(image.transpose(2, 0, 1)[None], dtype=torch.float32))[0].numpy())
    return np.stack(rows)
