"""Make a small image classification dataset in exactly the layout of the ILSVRC2012 downloads.

    DIR/ILSVRC2012_img_train.tar        a tar of tars: n91234567.tar with n91234567_<number>.JPEG
    DIR/ILSVRC2012_img_val.tar          flat: ILSVRC2012_val_00000001.JPEG ...
    DIR/ILSVRC2012_devkit_t12.tar.gz    data/meta.mat, data/ILSVRC2012_validation_ground_truth.txt, readme.txt

As in the real downloads ILSVRC ids do not follow the order of the WNIDs, `meta.mat` lists inner nodes of the
hierarchy too, and among the training images are a PNG named .JPEG, a CMYK file, greyscale ones and some whose
EXIF asks for a rotation. One is cut short.
"""

import filecmp
import gzip
import io
import itertools
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagefeed.pipeline.files.atomic import TEMPORARY_PREFIX, atomic
from imagefeed.pipeline.files.locks import exclusive_in_turn
from imagefeed.pipeline.formats.matlab import write_structs
from imagefeed.pipeline.synthetic.drawing import FIGURES, HUES, draw

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT, DEVKIT_ROOT = "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12"
EXIF_ORIENTATION = 0x0112

# Of the struct in meta.mat, in the order of the real one.
SYNSET_FIELDS = (
    "ILSVRC2012_ID",
    "WNID",
    "words",
    "gloss",
    "num_children",
    "children",
    "wordnet_height",
    "num_train_images",
)

Things = tuple[tuple[str, str], ...]  # hue and figure of each class
THINGS: Things = tuple(itertools.product(HUES, FIGURES))  # the class with ILSVRC id i is THINGS[i - 1]


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What to draw. The same options (and the same Pillow, NumPy and zlib) draw the same bytes."""

    num_classes: int = 20
    """classes, 2 to 20"""
    train_images_per_class: int = 40
    """training images of each class"""
    val_images_per_class: int = 10
    """validation images of each class"""
    min_side: int = 200
    """shortest side of an image, in pixels"""
    max_side: int = 500
    """longest side of an image, in pixels"""
    seed: int = 0
    """any number from 0 up: another seed draws other images of the same classes"""

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= len(THINGS):
            raise ValueError(f"num_classes is {self.num_classes}; it can be 2 to {len(THINGS)}")
        if self.num_classes * self.train_images_per_class < 8 or self.val_images_per_class < 1:
            raise ValueError("a sample needs at least 8 training images in all and 1 validation image a class")
        if not 16 <= self.min_side <= self.max_side:
            raise ValueError(f"sides are {self.min_side} to {self.max_side} pixels; need 16 <= min <= max")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it can be 0 or more")


def make_sample(directory: Path, config: SampleConfig | None = None) -> None:
    """Draw the dataset into `directory`, which is made where it is missing.

    A finished one of the same options is left alone; one that was interrupted is completed. The devkit is
    written last, so its presence says that all is there. Raises FileExistsError, and replaces nothing, where
    files of those names with other content are there: real downloads, or a sample drawn with other options.
    """
    config = config or SampleConfig()
    directory.mkdir(parents=True, exist_ok=True)
    # Processes that start together draw one after the other.
    with exclusive_in_turn(directory, f"another process is drawing the sample in {directory}: waiting for it"):
        if _is_complete(directory, config):
            return
        for stray in directory.glob(f"{TEMPORARY_PREFIX}*-ILSVRC2012_*"):  # of a killed process
            stray.unlink()
        things = THINGS[: config.num_classes]
        with _published(directory / TRAIN) as path:
            _write_train(path, things, config)
        with _published(directory / VAL) as path:
            labels = _write_val(path, things, config)
        with _published(directory / DEVKIT) as path:
            _write_devkit(path, things, labels, config)


def wnid(words: str) -> str:
    """A name like WordNet's; the order of the names has nothing to do with the order of the words."""
    return f"n9{zlib.crc32(words.encode()) % 10**7:07d}"


def _write_train(path: Path, things: Things, config: SampleConfig) -> None:
    num_images = config.train_images_per_class
    oddities = _oddities(len(things) * num_images, config)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as outer:
        for name, label in sorted((wnid(" ".join(thing)), label) for label, thing in enumerate(things)):
            # Numbers with gaps and without leading zeros, as in the real thing.
            numbers = np.sort(_rng(config, "numbers", label).choice(20 * num_images, num_images, replace=False))
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as inner:
                for image, number in enumerate(numbers, label * num_images):
                    data = _file(things[label], oddities.get(image, ""), config, _rng(config, "train", image))
                    _add(inner, f"{name}_{number}.JPEG", data)
            _add(outer, f"{name}.tar", stream.getvalue())


def _write_val(path: Path, things: Things, config: SampleConfig) -> list[int]:
    """Returns the label (place in `things`) of each image, in the order of the file names."""
    labels = np.repeat(np.arange(len(things)), config.val_images_per_class)
    labels = _rng(config, "labels", 0).permutation(labels)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for image, label in enumerate(labels):
            data = _file(things[label], "", config, _rng(config, "val", image))
            _add(tar, f"ILSVRC2012_val_{image + 1:08d}.JPEG", data)
    return labels.tolist()


def _write_devkit(path: Path, things: Things, labels: list[int], config: SampleConfig) -> None:
    truth = "".join(f"{1 + label}\n" for label in labels)
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped,  # neither name nor time in its header
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, f"{DEVKIT_ROOT}/readme.txt", _readme(config))
        _add(tar, f"{DEVKIT_ROOT}/data/meta.mat", _meta(things, config))
        _add(tar, f"{DEVKIT_ROOT}/data/ILSVRC2012_validation_ground_truth.txt", truth.encode())


def _meta(things: Things, config: SampleConfig) -> bytes:
    """A MAT-file of `synsets`: the classes with the ids 1, 2, ... as in `things`, each hue, and the root."""
    names = [" ".join(thing) for thing in things]
    children: list[list[int]] = [[] for _ in things]
    for hue in dict.fromkeys(hue for hue, _ in things):
        names.append(f"{hue} thing")
        children.append([place for place, thing in enumerate(things, 1) if thing[0] == hue])
    names.append("thing")
    children.append(list(range(len(things) + 1, len(names))))

    synsets: list[dict[str, Any]] = []
    for row, (words, below) in enumerate(zip(names, children, strict=True)):
        height = (row >= len(things)) + (words == "thing")
        num_images = 0 if below else config.train_images_per_class
        texts = wnid(words), words, f"a drawn {words}"
        values = float(row + 1), *texts, float(len(below)), below, float(height), float(num_images)
        synsets.append(dict(zip(SYNSET_FIELDS, values, strict=True)))
    return write_structs(synsets, "synsets")


def _file(thing: tuple[str, str], oddity: str, config: SampleConfig, rng: np.random.Generator) -> bytes:
    """A picture as a JPEG of varied quality and chroma, or as one of the odd files of the real thing."""
    width, height = (int(side) for side in rng.integers(config.min_side, config.max_side + 1, 2))
    image = draw(*thing, width, height, rng)
    options: dict[str, Any] = {"quality": int(rng.integers(70, 97)), "subsampling": int(rng.integers(0, 3))}
    stream = io.BytesIO()
    if oddity == "png":
        image.convert("RGBA").save(stream, "PNG", compress_level=1)
        return stream.getvalue()
    if oddity == "rotated":
        options["exif"] = Image.Exif()
        options["exif"][EXIF_ORIENTATION] = 6
    mode = {"cmyk": "CMYK", "grey": "L"}.get(oddity, "RGB")
    image.convert(mode).save(stream, "JPEG", **options)
    data = stream.getvalue()
    return data[: len(data) * 2 // 3] if oddity == "truncated" else data


def _oddities(num_images: int, config: SampleConfig) -> dict[int, str]:
    """Which training images (counted through all classes) are odd, and how."""
    several = 1 + num_images // 64
    kinds = ["png", "cmyk", "truncated"] + ["grey"] * several + ["rotated"] * several
    return dict(zip(_rng(config, "odd", 0).permutation(num_images).tolist(), kinds, strict=False))


def _rng(config: SampleConfig, purpose: str, index: int) -> np.random.Generator:
    """A generator of its own for each thing that is drawn by lot."""
    return np.random.default_rng((config.seed, zlib.crc32(purpose.encode()), index))


def _readme(config: SampleConfig) -> bytes:
    return f"Images drawn by `imagefeed sample` in the layout of the ILSVRC2012 downloads.\n{config}\n".encode()


def _is_complete(directory: Path, config: SampleConfig) -> bool:
    """Whether all three files stand there. Raises FileExistsError where the devkit is not this sample's."""
    devkit = directory / DEVKIT
    if not devkit.exists():
        return False
    try:
        with tarfile.open(devkit) as tar:
            readme = tar.extractfile(f"{DEVKIT_ROOT}/readme.txt")
            found = readme.read() if readme else b""
    except (KeyError, tarfile.TarError, EOFError, OSError):
        found = b""
    if found != _readme(config):
        raise FileExistsError(
            f"{devkit} is not the devkit of this sample ({config}), so nothing was written: "
            "name another folder, or remove the three ILSVRC2012_* files if you do not need them"
        )
    return (directory / TRAIN).exists() and (directory / VAL).exists()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Owner and time of a TarInfo are 0 by default, which keeps the bytes reproducible."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@contextmanager
def _published(final: Path) -> Iterator[Path]:
    """As `atomic`, but a file that is there already is never replaced by another content."""
    with atomic(final) as path:
        yield path
        if final.exists() and not filecmp.cmp(path, final, shallow=False):
            raise FileExistsError(f"{final} is no part of this sample and was left as it is: name another folder")
