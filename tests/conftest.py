"""Inputs that several tests share: small, drawn here, with the odd files of the real thing among them."""

import signal
import tarfile
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import settings

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import Manifest
from tests.support.pictures import encoded as encoded
from tests.support.pictures import picture as picture
from tests.support.threads import leaves_no_thread as leaves_no_thread

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them each program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("imagefeed", deadline=None)  # the first example of many compiles
settings.load_profile("imagefeed")

# Rooms whose tests take longest: first, so that no process has them left when the others have ended.
SLOW = ("training", "jobs", "project", "model", "evaluation", "cluster")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow rooms first."""
    items.sort(key=lambda item: item.path.parent.name not in SLOW)


def content_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a regular file in `tar`."""
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def read_range(root: Path, file: str, offset: int, size: int) -> bytes:
    """Some bytes of a file below `root`."""
    return (root / file).read_bytes()[offset : offset + size]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and val/ of three classes: 29 training images, one of them cut short, and 9 others."""
    root = tmp_path_factory.mktemp("images")
    number = 0
    for split, counts in {"train": (12, 9, 8), "val": (3, 3, 3)}.items():
        for name, count in zip(("ant", "bee", "cat"), counts, strict=True):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                number += 1
                image = picture(number, 60 + 37 * (number % 11), 80 + 29 * (number % 13))
                if index == 2:
                    (folder / f"{index:03d}.png").write_bytes(encoded(image[:, :, 0], "PNG"))
                else:
                    (folder / f"{index:03d}.jpg").write_bytes(encoded(image, quality=95))
    broken = root / "train" / "bee" / "004.jpg"
    broken.write_bytes(broken.read_bytes()[:1500])
    return root


@pytest.fixture(scope="session")
def shards(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`images` converted to both formats, in shards of at most seven: tar/train, tar/val, beton/train, beton/val."""
    out = tmp_path_factory.mktemp("shards")
    convert(images, out, ConvertOptions(format="both", shard_size=7))
    return out


@pytest.fixture(scope="session")
def more_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training images of other classes, one of which is in `images` too: 4 + 5 + 2 of them."""
    root = tmp_path_factory.mktemp("more_images")
    for number, name in enumerate(["ape"] * 4 + ["bee"] * 5 + ["dog"] * 2):
        folder = root / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        image = picture(100 + number, 90 + 31 * (number % 5), 70 + 23 * (number % 7))
        (folder / f"more-{number:03d}.jpg").write_bytes(encoded(image, quality=95))
    return root


@pytest.fixture(scope="session")
def more(more_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`more_images` converted to both formats, in shards of at most three: tar/train, beton/train."""
    out = tmp_path_factory.mktemp("more")
    convert(more_images, out, ConvertOptions(format="both", shard_size=3))
    return out


@pytest.fixture(scope="session")
def checkpoint(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained net of a quarter of the width, as the training of a run folder would leave it."""
    import torch  # here: most tests need none of it

    from imagefeed.model.alexnet import AlexNet
    from imagefeed.model.checkpoint import FORMAT, Checkpoint, save_checkpoint

    train = Manifest.load(shards / "tar" / "train")
    torch.manual_seed(6)
    net = AlexNet(num_classes=3, width=0.25, initialisation="he")
    path = tmp_path_factory.mktemp("run") / "checkpoint-last.pt"
    content: Checkpoint = {
        "format": FORMAT,
        "model_config": asdict(net.config),
        "model": net.state_dict(),
        "optimizer": {},
        "scaler": {},
        "schedule": {},
        "loader": {},
        "epoch": 1,
        "step": 2,
        "world_size": 1,
        "train_config": {},
        "classes": [each.wnid for each in train.classes],
        "data_digest": train.digest,
        "versions": {},
    }
    save_checkpoint(path, content)
    return path


@pytest.fixture(scope="session")
def two_checkpoints(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """That one, and a net of another width."""
    import torch

    from imagefeed.model.alexnet import AlexNet
    from imagefeed.model.checkpoint import load_checkpoint, save_checkpoint

    content = load_checkpoint(checkpoint)
    torch.manual_seed(7)
    config = {**content["model_config"], "width": 0.1}
    path = tmp_path_factory.mktemp("other") / "checkpoint-last.pt"
    save_checkpoint(path, {**content, "model_config": config, "model": AlexNet(**config).state_dict()})
    return [checkpoint, path]
