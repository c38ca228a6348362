"""Slow, obvious twins of the fast paths: plain integers, Pillow and NumPy, one sample at a time."""

import io
import math
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipeline.dataset import Dataset
from pipeline.manifest import RAW
from pipeline.moments import Statistics

ORDER, WINDOW, COLOUR = 0, 1, 2


def philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10 as its paper writes it."""
    k0, k1 = key
    left0, right0, left1, right1 = counter
    for _ in range(10):
        product0, product1 = 0xD2511F53 * left0, 0xCD9E8D57 * left1
        left0, right0, left1, right1 = (
            (product1 >> 32) ^ right0 ^ k0,
            product1 % 2**32,
            (product0 >> 32) ^ right1 ^ k1,
            product0 % 2**32,
        )
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return left0, right0, left1, right1


def draw(seed: int, epoch: int, sample_id: int, which: int) -> tuple[int, int, int, int]:
    return philox((seed % 2**32, seed >> 32), (sample_id % 2**32, sample_id >> 32, epoch, which))


def order_key(seed: int, epoch: int, sample_id: int) -> int:
    words = draw(seed, epoch, sample_id, ORDER)
    return words[0] * 2**32 + words[1]


def epoch_ids(ids: list[int], seed: int, epoch: int) -> list[int]:
    return sorted(ids, key=lambda sample_id: (order_key(seed, epoch, sample_id), sample_id))


def random_view(seed: int, epoch: int, sample_id: int, room: tuple[int, int]) -> tuple[int, int, int]:
    words = draw(seed, epoch, sample_id, WINDOW)
    return words[0] * (room[0] + 1) // 2**32, words[1] * (room[1] + 1) // 2**32, words[2] * 2 // 2**32


def normals(words: tuple[int, int, int, int]) -> tuple[float, float, float]:
    radius0, radius1 = (math.sqrt(-2 * math.log((word + 1) / 2**32)) for word in (words[0], words[2]))
    angle0, angle1 = 2 * math.pi * words[1] / 2**32, 2 * math.pi * words[3] / 2**32
    return radius0 * math.cos(angle0), radius0 * math.sin(angle0), radius1 * math.cos(angle1)


def random_colour(seed: int, epoch: int, sample_id: int, statistics: Statistics) -> np.ndarray:
    """[p1 p2 p3] [a1 l1, a2 l2, a3 l3]^T of the paper, l the square root of the eigenvalue."""
    alphas = normals(draw(seed, epoch, sample_id, COLOUR))
    colour = [0.0, 0.0, 0.0]
    for alpha, eigenvalue, vector in zip(
        alphas, statistics.eigenvalues, np.array(statistics.eigenvectors).T, strict=True
    ):
        colour = [
            sum_ + 0.1 * entry * math.sqrt(eigenvalue) * alpha for sum_, entry in zip(colour, vector, strict=True)
        ]
    return np.array(colour, np.float32)


def augment(
    image: np.ndarray,
    view: tuple[int, int, int],
    colour: np.ndarray,
    mean: np.ndarray,
    size: int,
    dtype: str,
    layout: str,
) -> torch.Tensor:
    """One crop: mean off, mirror, colour on, type, layout; each in a pass of its own."""
    top, left, mirror = view
    pixels = image[top : top + size, left : left + size]
    if dtype != "uint8":
        pixels = pixels.astype(np.float32) - mean[top : top + size, left : left + size] + colour
    if mirror:
        pixels = pixels[:, ::-1]
    if layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return torch.from_numpy(pixels.copy()).to(getattr(torch, dtype))


def stored_image(dataset: Dataset, row: int) -> np.ndarray:
    """The pixels of a sample, by Pillow from the bytes that the table points to."""
    sample = dataset.samples.slice(row, 1).to_pylist()[0]
    with open(dataset.path / dataset.manifest.shards[sample["shard"]].name, "rb") as file:
        file.seek(sample["offset"])
        payload = file.read(sample["size"])
    if sample["kind"] == RAW:
        return np.frombuffer(payload, np.uint8).reshape(sample["height"], sample["width"], 3)
    return np.asarray(Image.open(io.BytesIO(payload)))


def views_of(recipe: str, seed: int, epoch: int, sample_id: int, room: int) -> list[tuple[int, int, int]]:
    """The crops of a recipe in square images that leave `room` pixels beside the crop."""
    if recipe == "alexnet":
        return [random_view(seed, epoch, sample_id, (room, room))]
    centre = (room // 2, room // 2, 0)
    if recipe == "eval":
        return [centre]
    five = [(0, 0, 0), (0, room, 0), (room, 0, 0), (room, room, 0), centre]
    return five + [(top, left, 1) for top, left, _ in five]


def sample_image(dataset: Dataset, row: int, train: Dataset, epoch: int, **options: Any) -> torch.Tensor:
    """What a loader must give for one sample, [3, S, S] or [S, S, 3], with the views in front where there are ten."""
    recipe, size = options.get("recipe", "alexnet"), options.get("crop_size", 224)
    dtype, layout, seed = options.get("dtype", "float32"), options.get("layout", "NCHW"), options.get("seed", 0)
    image, sample_id = stored_image(dataset, row), int(dataset.samples["id"][row].as_py())
    colour = np.zeros(3, np.float32)
    if recipe == "alexnet":
        colour = random_colour(seed, epoch, sample_id, train.statistics)
    views = views_of(recipe, seed, epoch, sample_id, image.shape[0] - size)
    crops = [augment(image, view, colour, train.mean_image, size, dtype, layout) for view in views]
    return torch.stack(crops) if recipe == "ten-crop" else crops[0]
