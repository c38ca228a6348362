"""The ILSVRC2012 downloads as they come: a tar of per-synset tars, a flat validation tar and the development kit.

Nothing is unpacked. A member of a tar within a tar is a range of bytes of the outer file. Labels are the places of
the WNIDs in sorted order, as everybody numbers the classes, and not the kit's own ids, which go another way: the
kit's ground truth for the validation images is translated through `meta.mat`.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.files.input_folder import REQUESTS, InputFolder, input_folder_at, list_files, named
from imagefeed.pipeline.files.object_store import is_url
from imagefeed.pipeline.files.ranged import pread
from imagefeed.pipeline.formats.tar import Member, Members, scan
from imagefeed.pipeline.sources.class_order import BY_KIT
from imagefeed.pipeline.sources.ilsvrc2012_devkit import DEVKIT, Devkit, read_devkit
from imagefeed.pipeline.sources.image_table import Source, by_key, key_of, last_part, rows

TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"
FILES = (TRAIN, VAL, DEVKIT)
MD5 = {  # of the downloads, as those who serve them publish it
    TRAIN: "1d675b47d978889d74fa0da5fadfb00e",
    VAL: "29b22e2961454d5413ddabcf34fc5622",
    DEVKIT: "fa75699e90414af021442c21a62c3abf",
}
CHUNK = 1 << 23  # bytes that are hashed at once


def recognises(files: pa.Table) -> bool:
    """Whether one of the two archives of images lies there."""
    return len(named(files, f"{TRAIN}|{VAL}")) > 0


def open_source(origin: InputFolder, files: pa.Table) -> Source:
    """Lists the downloads in `origin`: the development kit, and training or validation images or both."""
    there = {row["name"]: row for row in named(files, "|".join(FILES)).to_pylist()}
    if DEVKIT not in there:
        raise FileNotFoundError(f"{origin.path(DEVKIT)} is missing: it holds the classes; put it beside the images")
    kit = read_devkit(origin.read(DEVKIT), origin.path(DEVKIT))
    listers = {"train": (TRAIN, train_images), "val": (VAL, val_images)}
    return Source(
        kind="ilsvrc2012",
        root=origin.root,
        classes=kit.classes,
        rule=BY_KIT,
        used=(DEVKIT,),
        splits={split: lister(origin, there[name], kit) for split, (name, lister) in listers.items() if name in there},
    )


def train_images(origin: InputFolder, tar: dict, kit: Devkit) -> pa.Table:
    """The images of the training tar. Raises `ValueError` where its synsets are not the kit's."""
    path, label_of = origin.path(TRAIN), kit.label_of
    with origin.open(TRAIN, tar["size"]) as file:
        inners = list(scan(file, 0, tar["size"], path))
    wnids = [PurePosixPath(inner.name).stem for inner in inners]
    for wnid, inner in zip(wnids, inners, strict=True):
        if wnid not in label_of:
            raise ValueError(f"{path} holds {inner.name}, a class that {DEVKIT} does not have: one of them is wrong")
    if unseen := set(label_of) - set(wnids):
        raise ValueError(
            f"{path} lacks {len(unseen)} of the {len(label_of)} classes of {DEVKIT}, such as {min(unseen)}: "
            "one of them is wrong"
        )

    def list_inner(inner: Member) -> Members:
        with origin.open(TRAIN, tar["size"]) as file:  # each its own, because elsewhere it remembers what it read
            return scan(file, inner.offset, inner.offset + inner.size, f"{path}: {inner.name}")

    with ThreadPoolExecutor(REQUESTS) as pool:
        found = list(pool.map(list_inner, inners))
    labels = [np.full(len(each.sizes), label_of[wnid]) for each, wnid in zip(found, wnids, strict=True)]
    return by_key(pa.concat_tables([images(tar, *each) for each in zip(found, labels, strict=True)]), path)


def val_images(origin: InputFolder, tar: dict, kit: Devkit) -> pa.Table:
    """The images of the validation tar. Raises `ValueError` where they are not as many as the kit has truths for."""
    with origin.open(VAL, tar["size"]) as file:
        members = scan(file, 0, tar["size"], origin.path(VAL))
    return by_key(images(tar, members, kit.val_labels(members.names(), origin.path(VAL))), origin.path(VAL))


def images(tar: dict, members: Members, labels: np.ndarray) -> pa.Table:
    """The members of a tar (a row of `origin.FILES`), n of them, as rows with `labels` (int64 [n])."""
    count = len(members.sizes)
    return rows(
        key=key_of(last_part(members.names())),
        label=labels,
        file=pa.repeat(tar["name"], count),
        offset=members.offsets,
        size=members.sizes,
        stamp=np.full(count, tar["stamp"]),
    )


def holds_archives(where: str) -> bool:
    """Whether one of the two archives of images lies in `where`, a folder or a URL; nothing is read."""
    origin = input_folder_at(where if is_url(where) else os.path.abspath(where))
    for name in (TRAIN, VAL):
        try:
            origin.found(name)
        except FileNotFoundError:
            continue
        return True
    return False


def check_archives(where: str) -> Iterator[str]:
    """Compares the MD5 of each download in `where` with the published one; yields its name when it is right.

    Reads all of the bytes. Raises `ValueError` for another sum, or where there is none of the downloads.
    """
    origin, files = list_files(where)
    there = named(files, "|".join(FILES)).to_pylist()
    if not there:
        raise ValueError(f"{where} holds none of the archives whose checksums are known: {', '.join(FILES)}")
    for row in there:
        state = hashlib.md5(usedforsecurity=False)
        with origin.open(row["name"], row["size"]) as file:
            for at in range(0, row["size"], CHUNK):
                state.update(pread(file, CHUNK, at))
        if state.hexdigest() != MD5[row["name"]]:
            raise ValueError(
                f"{origin.path(row['name'])} has the MD5 {state.hexdigest()} and not {MD5[row['name']]}: it is not the "
                "published file; get it again"
            )
        yield row["name"]
