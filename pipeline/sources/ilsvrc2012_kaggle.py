"""ILSVRC2012 as Kaggle packs it: images below `ILSVRC/Data/CLS-LOC`, classes and validation labels in text files.

    LOC_synset_mapping.txt      one class a line: its WNID, a space, its words
    LOC_val_solution.csv        ImageId,PredictionString: a validation image, and its WNID with boxes behind
    ILSVRC/Data/CLS-LOC/train/<wnid>/*.JPEG, .../val/*.JPEG

Labels are places of the sorted WNIDs, keys those of the ILSVRC2012 archives. The test images have no labels.
"""

import csv

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.files.text import decode_text, escaped, lines_of
from imagefeed.pipeline.sources.class_order import BY_KIT
from imagefeed.pipeline.sources.ilsvrc2012_unpacked import train_images
from imagefeed.pipeline.sources.image_table import IMAGE, Source, by_key, labels_of, last_part, unique_keys, whole_files

MAPPING, SOLUTION = "LOC_synset_mapping.txt", "LOC_val_solution.csv"
DATA = "ILSVRC/Data/CLS-LOC"


def recognises(files: pa.Table) -> bool:
    """Whether there are Kaggle's text files or folders, also where one looks from inside of them."""
    return len(named(files, f"{MAPPING}|{SOLUTION}|(?:(?:ILSVRC/)?Data/)?CLS-LOC/.*")) > 0


def open_source(origin: InputFolder, files: pa.Table) -> Source:
    """Lists the images. Raises `FileNotFoundError` where the folder with the text files was not named."""
    if not len(named(files, MAPPING)) or not len(named(files, f"{DATA}/.*")):
        raise FileNotFoundError(
            f"{origin.root} is a part of Kaggle's ImageNet: name the folder with {MAPPING}, {SOLUTION} and ILSVRC/"
        )
    classes, splits = read_classes(origin.read(MAPPING), origin.path(MAPPING)), {}
    if len(train := named(files, f"{DATA}/train/[^/]+/{IMAGE}")):
        splits["train"] = train_images(train, classes, origin.root)
    if len(val := named(files, f"{DATA}/val/{IMAGE}")):
        if not len(named(files, SOLUTION)):
            raise FileNotFoundError(f"{origin.path(SOLUTION)} is missing: it holds the labels of {DATA}/val")
        key = unique_keys(last_part(val["name"]))
        truth = read_solution(origin.read(SOLUTION), origin.path(SOLUTION))
        splits["val"] = by_key(
            whole_files(val, key, val_labels(key, truth, classes, origin.path(SOLUTION))), origin.root
        )
    return Source(
        kind="kaggle", root=origin.root, classes=classes, splits=splits, rule=BY_KIT, used=(MAPPING, SOLUTION)
    )


def read_classes(content: bytes, name: str) -> tuple[Class, ...]:
    """Classes, sorted by WNID. Raises `ValueError` where a line is no WNID with words, or one comes twice."""
    lines = [escaped(line).partition(" ") for line in lines_of(decode_text(content, name)) if line.strip()]
    classes = tuple(sorted((Class(wnid, words.strip()) for wnid, _, words in lines), key=lambda each: each.wnid))
    if not classes or len({each.wnid for each in classes}) < len(classes):
        raise ValueError(f"{name}: expected one class a line, its WNID and its words, each once")
    return classes


def read_solution(content: bytes, name: str) -> dict[str, str]:
    """The WNID of each validation image."""
    lines = csv.DictReader(lines_of(decode_text(content, name)))
    return {line["ImageId"]: (line["PredictionString"] or "").partition(" ")[0] for line in lines}


def val_labels(key: pa.Array, truth: dict[str, str], classes: tuple[Class, ...], name: str) -> np.ndarray:
    """The labels (int64 [n]) of the images `key`. Raises `ValueError` where those are not the ones in `truth`."""
    keys = key.to_pylist()
    if set(keys) != set(truth):
        odd = min(set(keys) ^ set(truth))
        raise ValueError(
            f"{name} has labels of {len(truth)} images and there are {len(keys)}; {odd} is in one of them alone: "
            "one of them is wrong"
        )
    return labels_of(pa.array([truth[each] for each in keys], pa.string()), classes, name)
