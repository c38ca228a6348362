"""The ILSVRC2012 downloads as they come: a tar of per-synset tars, a flat validation tar and the development kit.

Nothing is unpacked. A member of a tar within a tar is a range of bytes of the outer file. Labels are the places of
the WNIDs in sorted order, as everybody numbers the classes, and not the kit's own ids, which go another way: the
kit's ground truth for the validation images is translated through `meta.mat`.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.formats.tar import scan
from pipeline.manifest import Class
from pipeline.sources.table import Entry, Source, table_of

TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
FILES = (TRAIN, VAL, DEVKIT)


def recognises(path: Path) -> bool:
    """Whether any of the three downloads lies in `path`."""
    return any((path / name).is_file() for name in FILES)


def open_source(path: Path) -> Source:
    """Lists the downloads in `path`: the development kit, and training or validation images or both."""
    if not (path / DEVKIT).is_file():
        raise FileNotFoundError(f"{path / DEVKIT} is missing: it holds the classes; put it beside the images")
    if not any((path / name).is_file() for name in (TRAIN, VAL)):
        raise FileNotFoundError(f"{path} holds neither {TRAIN} nor {VAL}: put one of them beside {DEVKIT}")
    classes, wnid_of_id, truth = read_devkit(path / DEVKIT)
    label_of = {each.wnid: label for label, each in enumerate(classes)}
    splits = {}
    if (path / TRAIN).is_file():
        splits["train"] = table_of(train_entries(path / TRAIN, label_of), path / TRAIN)
    if (path / VAL).is_file():
        labels = [label_of[wnid_of_id[ilsvrc_id]] for ilsvrc_id in truth]
        splits["val"] = table_of(val_entries(path / VAL, labels), path / VAL)
    return Source(kind="ilsvrc2012", root=path, classes=classes, splits=splits)


def read_devkit(path: Path) -> tuple[tuple[Class, ...], dict[int, str], list[int]]:
    """Classes sorted by WNID, the WNID of each ILSVRC id, and the validation images' ids in the order of their names.

    Only leaves of the hierarchy are classes (`num_children` is 0). Raises `ValueError` for another file.
    """
    import scipy.io  # here: it takes longer than all else that this package imports

    try:
        with tarfile.open(path) as kit:
            files = {PurePosixPath(member.name).name: member for member in kit.getmembers() if member.isfile()}
            meta = _content(kit, files["meta.mat"])
            truth_text = _content(kit, files["ILSVRC2012_validation_ground_truth.txt"])
        synsets = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        rows = [
            (int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
            for row in synsets
            if int(row["num_children"]) == 0
        ]
        truth = [int(line) for line in truth_text.split()]
    except (OSError, EOFError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
        raise ValueError(
            f"{path} cannot be read as the ILSVRC2012 development kit ({type(error).__name__}: {error}): "
            "get the file again"
        ) from error
    wnid_of_id = {ilsvrc_id: wnid for ilsvrc_id, wnid, _ in rows}
    classes = tuple(sorted((Class(wnid, words) for _, wnid, words in rows), key=lambda each: each.wnid))
    unknown = set(truth) - set(wnid_of_id)
    if unknown or len(wnid_of_id) != len(rows):
        raise ValueError(f"{path}: the ground truth has ids that meta.mat does not: {sorted(unknown)[:5]}")
    return classes, wnid_of_id, truth


def _content(kit: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = kit.extractfile(member)
    assert file is not None  # `isfile` was asked
    return file.read()


def train_entries(path: Path, label_of: dict[str, int]) -> Iterator[Entry]:
    """The images of the training tar. Raises `ValueError` where its synsets are not the kit's."""
    unseen = set(label_of)
    with open(path, "rb", buffering=0) as file:
        for inner in scan(file.fileno(), 0, os.fstat(file.fileno()).st_size, str(path)):
            wnid = PurePosixPath(inner.name).stem
            if wnid not in label_of:
                raise ValueError(
                    f"{path} holds {inner.name}, a class that {DEVKIT} does not have: one of them is wrong"
                )
            unseen.discard(wnid)
            for member in scan(file.fileno(), inner.offset, inner.offset + inner.size, f"{path}: {inner.name}"):
                yield Entry(PurePosixPath(member.name).stem, label_of[wnid], path.name, member.offset, member.size)
    if unseen:
        raise ValueError(
            f"{path} lacks {len(unseen)} of the {len(label_of)} classes of {DEVKIT}, such as {min(unseen)}: "
            "one of them is wrong"
        )


def val_entries(path: Path, labels: list[int]) -> Iterator[Entry]:
    """The images of the validation tar; `labels` are in the order of the sorted names."""
    with open(path, "rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        members = sorted(scan(file.fileno(), 0, end, str(path)))
    if len(members) != len(labels):
        raise ValueError(
            f"{path} holds {len(members)} images, but {DEVKIT} has the truth for {len(labels)}: one of them is wrong"
        )
    for member, label in zip(members, labels, strict=True):
        yield Entry(PurePosixPath(member.name).stem, label, path.name, member.offset, member.size)
