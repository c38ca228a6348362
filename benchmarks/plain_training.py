"""Training AlexNet as one writes it with torch, NumPy and Pillow alone: no line of imagefeed runs here.

The twin of `jobs/train.py --initialisation he` for the presets `paper` and `modern`: the same net, losses, updates and
rates, the same kinds of crop, mirror and colour, each drawn in its own way. It reads the tar shards as plain tars,
holds the JPEGs in memory and takes the pixel statistics itself.
"""

import io
import json
import math
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

CROP = 224
Sample = tuple[bytes, int]  # JPEG of 256 x 256 pixels, label


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is told."""

    preset: str  # paper, modern
    num_classes: int
    width: float
    epochs: int
    batch_size: int
    learning_rate: float  # of this batch size
    milestones: tuple[int, ...]  # paper: epochs after which the rate is divided by 10
    warm_up: int  # modern: epochs
    seed: int


class Net(nn.Module):
    """[B, 3, 224, 224] -> logits [B, num_classes]."""

    def __init__(self, preset: str, num_classes: int, width: float) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, hidden = (2 * round(units * width / 2) for units in (96, 256, 384, 384, 256, 4096))
        self.modern = preset == "modern"
        groups = 1 if self.modern else 2
        self.conv1 = nn.Conv2d(3, c1, 11, stride=4)
        self.conv2 = nn.Conv2d(c1, c2, 5, padding=2, groups=groups)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1)
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=1, groups=groups)
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=1, groups=groups)
        self.fc6 = nn.Linear(36 * c5, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, num_classes)
        if self.modern:
            self.norms = nn.ModuleList([*map(nn.BatchNorm2d, (c1, c2, c3, c4, c5)), *map(nn.BatchNorm1d, [hidden] * 2)])
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                layer.bias.data.zero_()  # type: ignore[union-attr]

    def act(self, number: int, x: Tensor) -> Tensor:
        return F.relu(self.norms[number](x) if self.modern else x)

    def norm(self, x: Tensor) -> Tensor:
        return x if self.modern else F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)

    def drop(self, x: Tensor) -> Tensor:
        x = F.dropout(x, 0.5, self.training)
        return x if self.modern else x / 2

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x if self.modern else x / 58, (0, 3, 0, 3))
        x = F.max_pool2d(self.norm(self.act(0, self.conv1(x))), 3, 2)
        x = F.max_pool2d(self.norm(self.act(1, self.conv2(x))), 3, 2)
        x = self.act(2, self.conv3(x))
        x = self.act(3, self.conv4(x))
        x = F.max_pool2d(self.act(4, self.conv5(x)), 3, 2).flatten(1)
        x = self.drop(self.act(5, self.fc6(x)))
        x = self.drop(self.act(6, self.fc7(x)))
        return self.fc8(x)


class Optimizer:
    """paper: v <- 0.9 v - 0.0005 rate w - rate g, w <- w + v. modern: torch's SGD; biases and norms do not decay."""

    def __init__(self, net: Net, rate: float) -> None:
        self.net, self.velocities = net, [torch.zeros_like(weight) for weight in net.parameters()]
        decays = [[weight for weight in net.parameters() if (weight.ndim == 1) == flat] for flat in (False, True)]
        groups = [{"params": decays[0], "weight_decay": 0.0005}, {"params": decays[1], "weight_decay": 0.0}]
        self.modern = torch.optim.SGD(groups, rate, momentum=0.9) if net.modern else None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        if self.modern is not None:
            for group in self.modern.param_groups:
                group["lr"] = rate
            self.modern.step()
            return
        for weight, velocity in zip(self.net.parameters(), self.velocities, strict=True):
            assert weight.grad is not None
            velocity.mul_(0.9).sub_(0.0005 * rate * weight).sub_(rate * weight.grad)
            weight.add_(velocity)


def rate_at(plan: Plan, step: int, steps_per_epoch: int) -> float:
    """The rate after `step` steps: divided by 10 at the milestones, or a cosine after a linear rise."""
    if plan.preset == "paper":
        return plan.learning_rate / 10 ** sum(step >= epoch * steps_per_epoch for epoch in plan.milestones)
    rise = (step + 1) / (plan.warm_up * steps_per_epoch + 1)
    return plan.learning_rate * min(1.0, rise) * (1 + math.cos(math.pi * step / (plan.epochs * steps_per_epoch))) / 2


def read(split: Path) -> list[Sample]:
    """All samples of a folder of tar shards: NAME.jpg and NAME.cls, as WebDataset has them."""
    samples = []
    for shard in sorted(split.glob("*.tar")):
        with tarfile.open(shard) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        names = [name for name in files if name.endswith(".jpg")]
        samples += [(files[name], int(files[name.removesuffix(".jpg") + ".cls"])) for name in names]
    return samples


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


@dataclass(frozen=True)
class Statistics:
    """Of the training pixels, grey levels."""

    mean_image: np.ndarray  # [256, 256, 3]
    mean: np.ndarray  # [3]
    covariance: np.ndarray  # [3, 3]


def take_statistics(samples: list[Sample]) -> Statistics:
    total, products = np.zeros((256, 256, 3)), np.zeros((3, 3))
    for jpeg, _ in samples:
        image = pixels(jpeg).astype(np.float64)
        total += image
        products += np.einsum("hwc,hwd->cd", image, image)
    mean_image = total / len(samples)
    mean = mean_image.mean((0, 1))
    return Statistics(mean_image, mean, products / len(samples) / 256**2 - np.outer(mean, mean))


class Images(Dataset[tuple[Tensor, int]]):
    """Samples as the net wants them: cropped at random for training, at the centre for validation."""

    def __init__(self, samples: list[Sample], statistics: Statistics, plan: Plan, *, training: bool) -> None:
        self.samples, self.statistics, self.training = samples, statistics, training
        self.modern = plan.preset == "modern"
        self.rng = np.random.default_rng(plan.seed)
        values, self.vectors = np.linalg.eigh(statistics.covariance)
        self.deviations = 0.1 * np.sqrt(values)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        jpeg, label = self.samples[index]
        image = pixels(jpeg)
        if self.training and self.modern:
            image = self.resized(image)
            top = left = 0
        else:
            top, left = self.rng.integers(0, 33, 2) if self.training else (16, 16)
            image = image[top : top + CROP, left : left + CROP]
        if self.modern:
            image = (image - self.statistics.mean) / np.sqrt(np.diag(self.statistics.covariance))
        else:
            image = image - self.statistics.mean_image[top : top + CROP, left : left + CROP]
            if self.training:
                image = image + self.vectors @ (self.deviations * self.rng.normal(size=3))
        if self.training and self.rng.random() < 0.5:
            image = image[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)), label

    def resized(self, image: np.ndarray) -> np.ndarray:
        """8 to 100 % of the image, 3:4 to 4:3, resized to 224."""
        for _ in range(10):
            area = 256**2 * self.rng.uniform(0.08, 1)
            ratio = math.exp(self.rng.uniform(math.log(3 / 4), math.log(4 / 3)))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if max(width, height) <= 256:
                left, top = (int(self.rng.integers(0, 257 - side)) for side in (width, height))
                box = (left, top, left + width, top + height)
                break
        else:
            box = (0, 0, 256, 256)
        whole = Image.fromarray(image)
        return np.asarray(whole.resize((CROP, CROP), Image.Resampling.BILINEAR, box=box))


def train(plan: Plan, data: Path) -> Iterator[dict[str, float]]:
    """Trains and yields epoch, training loss, validation loss, top1_error and top5_error after each epoch."""
    torch.manual_seed(plan.seed)
    samples = read(data / "train")
    statistics = take_statistics(samples)
    training = DataLoader(
        Images(samples, statistics, plan, training=True), plan.batch_size, shuffle=True, drop_last=False
    )
    validation = DataLoader(Images(read(data / "val"), statistics, plan, training=False), plan.batch_size)
    net = Net(plan.preset, plan.num_classes, plan.width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Optimizer(net, plan.learning_rate)
    smoothing, step = 0.1 if net.modern else 0.0, 0
    for epoch in range(1, plan.epochs + 1):
        net.train()
        losses = 0.0
        for images, labels in training:
            images = images.to(memory_format=torch.channels_last)
            net.zero_grad()
            loss = F.cross_entropy(net(images), labels, label_smoothing=smoothing, reduction="sum")
            (loss / plan.batch_size).backward()
            optimizer.step(rate_at(plan, step, len(training)))
            losses += loss.item()
            step += 1
        yield {"epoch": epoch, "train_loss": losses / len(samples), **judge(net, validation)}


@torch.inference_mode()
def judge(net: Net, validation: DataLoader[tuple[Tensor, int]]) -> dict[str, float]:
    net.eval()
    loss, right, count = 0.0, np.zeros(2), 0
    for images, labels in validation:
        logits = net(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        right += hits[:, :1].sum().item(), hits.sum().item()
        count += len(labels)
    return {"loss": loss / count, "top1_error": 1 - right[0] / count, "top5_error": 1 - right[1] / count}


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    for line in train(Plan(**told), Path(sys.argv[2])):
        print(json.dumps(line), flush=True)
