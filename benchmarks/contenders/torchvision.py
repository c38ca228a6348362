"""What most people do: torchvision's `ImageFolder` and transforms in torch's `DataLoader`, one file an image.

It decodes with Pillow. `transform` is the same transform in our loader.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.contenders import CROP, DEVIATION, FP32, MEAN, Epoch, Work

PACKAGE = "torchvision"
OUTPUTS = (FP32,)
STORED = ("jpeg",)


def recipe(tensors: bool) -> Callable[[Any], Any]:
    """Random crop, mirror, float32, normalised; of uint8 tensors, or of Pillow's images, which become tensors late."""
    import torch
    from torchvision.transforms import v2

    crop = [v2.RandomCrop(CROP), v2.RandomHorizontalFlip()]
    values = [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([m / 255 for m in MEAN], [d / 255 for d in DEVIATION]),
    ]
    made: Callable[[Any], Any] = v2.Compose(crop + ([] if tensors else [v2.PILToTensor()]) + values)
    return made


def open(work: Work) -> Epoch:
    """Its loader, shuffled."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    loader: Any = DataLoader(
        ImageFolder(work.data / "files", transform=recipe(tensors=False)),
        batch_size=work.batch_size,
        shuffle=True,
        num_workers=work.threads,
        persistent_workers=True,
    )
    return lambda: sum(len(labels) for _, labels in loader)
