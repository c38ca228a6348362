"""ILSVRC2012 unpacked: `train/<wnid>/*.JPEG`, `val/*.JPEG` all in one folder, and the development kit, packed or not.

The folders may also have the names of the archives. Keys and labels are those of the archives.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.input_folder import InputFolder, named
from imagefeed.pipeline.sources import ilsvrc2012_devkit
from imagefeed.pipeline.sources.class_order import BY_KIT
from imagefeed.pipeline.sources.image_table import (
    FLAT,
    IMAGE,
    Source,
    by_key,
    labels_of,
    last_part,
    unique_keys,
    whole_files,
)

TRAIN = "(?:train|ILSVRC2012_img_train)"
VAL = "(?:val|validation|ILSVRC2012_img_val)"
KIT = "(?:ILSVRC2012_devkit_t12/)?(?:data/)?"
ARCHIVES = "ILSVRC2012_img_(train|val).tar"


def recognises(files: pa.Table) -> bool:
    """Whether validation images lie in one folder, or training images in class folders beside the kit."""
    kit = named(files, f"{ilsvrc2012_devkit.DEVKIT}|{KIT}{ilsvrc2012_devkit.META}")
    if len(kit):
        found = f"{VAL}/{FLAT}", f"{TRAIN}/[^/]+/{IMAGE}"
        return len(named(files, "|".join(found))) > 0 or not len(named(files, ARCHIVES))
    return len(named(files, f"{VAL}/{FLAT}")) > 0 and not is_class(files)


def is_class(files: pa.Table) -> bool:
    """Whether `val` is a class: other class folders stand beside it, and no training images."""
    tops = set(
        pc.unique(pc.replace_substring_regex(named(files, f"[^/]+/{IMAGE}")["name"], r"(?s)/.*$", "")).to_pylist()
    )
    return len([top for top in tops if not re.fullmatch(f"{TRAIN}|{VAL}", top)]) > 0 and not len(
        named(files, f"{TRAIN}/[^/]+/{IMAGE}")
    )


def open_source(origin: InputFolder, files: pa.Table) -> Source:
    """Lists the images. Raises `FileNotFoundError` without the kit, which alone knows what is in val/."""
    kit, splits = read_kit(origin, files), {}
    if len(train := named(files, f"{TRAIN}/[^/]+/{IMAGE}")):
        splits["train"] = train_images(train, kit.classes, origin.root)
    if len(val := named(files, f"{VAL}/{FLAT}")):
        labels = kit.val_labels(last_part(val["name"]), origin.root)
        splits["val"] = by_key(whole_files(val, unique_keys(last_part(val["name"])), labels), origin.root)
    if not splits:
        raise FileNotFoundError(f"{origin.root} holds neither images in train/<wnid>/ or val/ nor the two archives")
    used = named(files, f"{ilsvrc2012_devkit.DEVKIT}|{KIT}(?:{ilsvrc2012_devkit.META}|{ilsvrc2012_devkit.TRUTH})")
    return Source(
        kind="ilsvrc2012-unpacked",
        root=origin.root,
        classes=kit.classes,
        splits=splits,
        rule=BY_KIT,
        used=tuple(used["name"].to_pylist()),
    )


def train_images(files: pa.Table, classes: tuple, where: str) -> pa.Table:
    """Files in class folders as rows; the key is the name, which begins with the WNID itself. Raises `ValueError`."""
    wnids = pc.replace_substring_regex(pc.replace_substring_regex(files["name"], r"/[^/]*$", ""), r"(?s)^.*/", "")
    if missing := {each.wnid for each in classes} - set(pc.unique(wnids).to_pylist()):
        raise ValueError(
            f"{where} lacks training images of {len(missing)} of the {len(classes)} classes, such as {min(missing)}: "
            "unpack the rest"
        )
    return by_key(whole_files(files, unique_keys(last_part(files["name"])), labels_of(wnids, classes, where)), where)


def read_kit(origin: InputFolder, files: pa.Table) -> ilsvrc2012_devkit.Devkit:
    """The kit that lies beside the images, as an archive or unpacked."""
    for name in named(files, ilsvrc2012_devkit.DEVKIT)["name"].to_pylist():
        return ilsvrc2012_devkit.read_devkit(origin.read(name), origin.path(name))
    for name in named(files, f"{KIT}{ilsvrc2012_devkit.META}")["name"].to_pylist():
        folder = name[: -len(ilsvrc2012_devkit.META)]
        return ilsvrc2012_devkit.parse(
            origin.read(name), origin.read(folder + ilsvrc2012_devkit.TRUTH), origin.path(folder)
        )
    raise FileNotFoundError(
        f"{origin.root} has validation images in one folder and nothing that says what they show: "
        f"put {ilsvrc2012_devkit.DEVKIT} beside train/ and val/, or sort the images into class folders"
    )
