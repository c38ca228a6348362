"""Slow, obvious twins of the fast paths: plain integers, Pillow and NumPy, one sample at a time."""

import io
import math
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagefeed.pipeline.dataset.statistics import Statistics
from imagefeed.pipeline.image.stored import RAW
from imagefeed.pipeline.loader.dataset import Dataset

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC

ORDER, WINDOW, COLOUR, MIRROR, RESIZED = 0, 1, 2, 3, 16

Window = tuple[float, float, float, float, int]  # top, left, height, width, mirror


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


def draw(seed: int, epoch: int, sample_id: int, which: int, turn: int = 0) -> tuple[int, int, int, int]:
    return philox((seed % 2**32, seed >> 32), (sample_id % 2**32, sample_id >> 32, epoch, 256 * turn + which))


def order_key(seed: int, epoch: int, sample_id: int, turn: int = 0) -> int:
    words = draw(seed, epoch, sample_id, ORDER, turn)
    return words[0] * 2**32 + words[1]


def epoch_ids(ids: list[int], seed: int, epoch: int) -> list[int]:
    return sorted(ids, key=lambda sample_id: (order_key(seed, epoch, sample_id), sample_id))


def random_window(
    seed: int,
    epoch: int,
    draw_key: int,
    height: int,
    width: int,
    size: int,
    short: int = 0,
    turn: int = 0,
    hflip: float = 0.5,
) -> Window:
    """A window of the crop's size anywhere in the image, scaled to a shorter side of `short` or as it is."""
    words, pitch = draw(seed, epoch, draw_key, WINDOW, turn), min(height, width) / short if short else 1
    rooms = [int(side / pitch + 1e-6) - size for side in (height, width)]
    top, left = (word * (room + 1) // 2**32 * pitch for word, room in zip(words, rooms, strict=False))
    return top, left, size * pitch, size * pitch, int(words[2] >= (1 - hflip) * 2**32)


def resized_window(
    seed: int,
    epoch: int,
    draw_key: int,
    height: int,
    width: int,
    turn: int = 0,
    hflip: float = 0.5,
    scale: tuple[float, float] = (0.08, 1.0),
    shape: tuple[float, float] = (3 / 4, 4 / 3),
) -> Window:
    """`RandomResizedCrop.get_params` of torchvision, with our random numbers."""
    mirror = int(draw(seed, epoch, draw_key, MIRROR, turn)[0] >= (1 - hflip) * 2**32)
    for attempt in range(10):
        words = draw(seed, epoch, draw_key, RESIZED + attempt, turn)
        area = height * width * (scale[0] + (scale[1] - scale[0]) * words[0] / 2**32)
        log_low, log_high = math.log(shape[0]), math.log(shape[1])
        ratio = math.exp(log_low + (log_high - log_low) * words[1] / 2**32)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return words[2] * (height - h + 1) // 2**32, words[3] * (width - w + 1) // 2**32, h, w, mirror
    w, h = width, height
    if width / height < shape[0]:
        h = round(width / shape[0])
    elif width / height > shape[1]:
        w = round(height * shape[1])
    return (height - h) // 2, (width - w) // 2, h, w, mirror


def normals(words: tuple[int, int, int, int]) -> tuple[float, float, float]:
    radius0, radius1 = (math.sqrt(-2 * math.log((word + 1) / 2**32)) for word in (words[0], words[2]))
    angle0, angle1 = 2 * math.pi * words[1] / 2**32, 2 * math.pi * words[3] / 2**32
    return radius0 * math.cos(angle0), radius0 * math.sin(angle0), radius1 * math.cos(angle1)


def random_colour(seed: int, epoch: int, sample_id: int, statistics: Statistics, turn: int = 0) -> np.ndarray:
    """[p1 p2 p3] [a1 l1, a2 l2, a3 l3]^T of the paper, l the square root of the eigenvalue."""
    alphas = normals(draw(seed, epoch, sample_id, COLOUR, turn))
    colour = [0.0, 0.0, 0.0]
    for alpha, eigenvalue, vector in zip(
        alphas, statistics.eigenvalues, np.array(statistics.eigenvectors).T, strict=True
    ):
        colour = [
            sum_ + 0.1 * entry * math.sqrt(eigenvalue) * alpha for sum_, entry in zip(colour, vector, strict=True)
        ]
    return np.array(colour, np.float32)


def augment(
    pixels: np.ndarray, mirror: int, colour: np.ndarray, mean: np.ndarray, scale: np.ndarray, dtype: str, layout: str
) -> torch.Tensor:
    """One crop (uint8 [S, S, 3]): mean off, colour on, scaled, mirror, type, layout; each in a pass of its own."""
    if dtype != "uint8":
        pixels = (pixels.astype(np.float32) - mean + colour) * scale
    if mirror:
        pixels = pixels[:, ::-1]
    if layout != "NHWC":
        pixels = pixels.transpose(2, 0, 1)
    return torch.from_numpy(pixels.copy()).to(getattr(torch, dtype))


def cut(image: np.ndarray, window: Window, size: int, crop_first: bool, by: Image.Resampling = BILINEAR) -> np.ndarray:
    """The window of an image as uint8 [S, S, 3], resized by Pillow in two passes where it is of another size."""
    top, left, height, width, _ = window
    if height == width == size:
        return image[int(top) : int(top) + size, int(left) : int(left) + size]
    if crop_first:
        image = image[int(top) : int(top) + int(height), int(left) : int(left) + int(width)]
        top = left = 0
    columns = image.shape[1]
    rows_done = Image.fromarray(image).resize((columns, size), by, box=(0, top, columns, top + height))
    return np.asarray(rows_done.resize((size, size), by, box=(left, 0, left + width, size)))


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A whole image as uint8 [height, width, 3] of `size`, by Pillow in two passes."""
    rows_done = Image.fromarray(image).resize((image.shape[1], size[0]), BILINEAR)
    return np.asarray(rows_done.resize((size[1], size[0]), BILINEAR))


def stored_image(dataset: Dataset, row: int) -> np.ndarray:
    """The pixels of a sample, by Pillow from the bytes that the table points to."""
    sample = dataset.samples.slice(row, 1).to_pylist()[0]
    with open(dataset.path / dataset.manifest.shards[sample["shard"]].name, "rb") as file:
        file.seek(sample["offset"])
        payload = file.read(sample["size"])
    if sample["kind"] == RAW:
        return np.frombuffer(payload, np.uint8).reshape(sample["height"], sample["width"], 3)
    return np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))


def windows_of(
    recipe: str,
    seed: int,
    epoch: int,
    draw_key: int,
    height: int,
    width: int,
    size: int,
    short: int = 0,
    turn: int = 0,
    **options: Any,
) -> list[Window]:
    """The windows of a recipe, as `options` of a loader change them."""
    hflip = options.get("hflip", 0.5)
    if recipe == "resnet":
        scale, shape = options.get("scale", (0.08, 1.0)), options.get("ratio", (3 / 4, 4 / 3))
        return [resized_window(seed, epoch, draw_key, height, width, turn, hflip, scale, shape)]
    if recipe.startswith("alexnet"):
        return [random_window(seed, epoch, draw_key, height, width, size, short, turn, hflip)]
    pitch = min(height, width) / short if short else 1
    down, right = int(height / pitch + 1e-6) - size, int(width / pitch + 1e-6) - size
    places = [(down // 2, right // 2)]
    if recipe == "ten-crop":
        places = [(0, 0), (0, right), (down, 0), (down, right), *places]
    mirrors = (0, 1) if recipe == "ten-crop" else (0,)
    return [
        (top * pitch, left * pitch, size * pitch, size * pitch, mirror) for mirror in mirrors for top, left in places
    ]


def levels(numbers: Any) -> np.ndarray:
    """Numbers in [0, 1] or in grey levels as grey levels, float64 [3]."""
    return np.full(3, numbers) * (255 if np.max(numbers) <= 1 else 1)


def sample_image(dataset: Dataset, row: int, train: Dataset, epoch: int, **options: Any) -> torch.Tensor:
    """What a loader must give for one sample, [3, S, S] or [S, S, 3], with the views in front where there are ten.

    `options` are those of the loader; `place`, the sample's in the epoch's order, counts for alexnet-2012, and `turn`
    is how often the sample came before.
    """
    recipe, size, short = options.get("recipe", "alexnet"), options.get("crop_size", 224), options.get("resize", 0)
    dtype, layout, seed = options.get("dtype", "float32"), options.get("layout", "NCHW"), options.get("seed", 0)
    place, turn = options.get("place", 0), options.get("turn", 0)
    image, sample_id = stored_image(dataset, row), int(dataset.samples["id"][row].as_py())
    height, width, _ = image.shape
    colour, scale = np.zeros(3, np.float32), np.ones(3)
    if recipe.startswith("alexnet") and epoch < options.get("colour_epochs", math.inf):
        colour = random_colour(seed, epoch, sample_id, train.statistics, turn)
        scale /= 1.1 if recipe == "alexnet-2012" else 1
    if options.get("std") is not None:
        scale /= levels(options["std"])
    elif options.get("normalize", recipe == "resnet"):
        scale /= np.sqrt(np.diag(np.array(train.statistics.covariance)))
    mean_kind = options.get("mean", {"resnet": "channel", "alexnet-2012": "centre"}.get(recipe, "window"))
    crops = []
    draw_key = place // 32 if recipe == "alexnet-2012" else sample_id
    changes = {name: options[name] for name in ("hflip", "scale", "ratio") if options.get(name) is not None}
    by = BICUBIC if options.get("interpolation") == "bicubic" else BILINEAR
    for window in windows_of(recipe, seed, epoch, draw_key, height, width, size, short, turn, **changes):
        pixels, mirror = cut(image, window, size, recipe == "resnet", by), window[4]
        if not isinstance(mean_kind, str):
            mean = np.full((size, size, 3), levels(mean_kind), np.float32)
        elif mean_kind == "channel" or image.shape != (train.mean_image.shape if short == 0 else None):
            mean = np.full((size, size, 3), train.statistics.mean, np.float32)
        elif mean_kind == "centre":
            top, left = ((side - size) // 2 for side in train.mean_image.shape[:2])
            mean = cut(train.mean_image, (top, left, size, size, 0), size, False)
            mean = mean[:, ::-1] if mirror else mean  # not mirrored with the pixels
        else:
            mean = cut(train.mean_image, window, size, False)
        crops.append(augment(pixels, mirror, colour, mean, scale.astype(np.float32), dtype, layout))
    return torch.stack(crops) if recipe == "ten-crop" else crops[0]
