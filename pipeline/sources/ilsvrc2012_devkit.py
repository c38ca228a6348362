"""The development kit of ILSVRC2012: which classes there are, and what the validation images show."""

import io
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.formats.matlab import read_structs

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
META, TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True, kw_only=True)
class Devkit:
    """What the kit says."""

    name: str  # where it was read, for messages
    classes: tuple[Class, ...]  # sorted by WNID
    wnid_of: dict[int, str]  # by ILSVRC id
    truth: tuple[int, ...]  # the ILSVRC id of each validation image, in the order of their names

    @cached_property
    def label_of(self) -> dict[str, int]:
        """Labels by WNID."""
        return {each.wnid: label for label, each in enumerate(self.classes)}

    def val_labels(self, names: pa.Array, where: str) -> np.ndarray:
        """The labels (int64 [n]) of the validation images `names`, in any order.

        Raises `ValueError` where there are not as many as the kit has truths for.
        """
        if len(names) != len(self.truth):
            raise ValueError(
                f"{where} holds {len(names)} images, but {self.name} has the truth for {len(self.truth)}: one of them "
                "is wrong"
            )
        labels = np.array([self.label_of[self.wnid_of[ilsvrc_id]] for ilsvrc_id in self.truth])
        ordered = np.empty(len(names), np.int64)
        ordered[pc.sort_indices(names).to_numpy()] = labels
        return ordered


def read_devkit(content: bytes, name: str) -> Devkit:
    """The kit from its archive, which is called `name` in messages. Raises `ValueError` for another file."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as kit:
            files = {PurePosixPath(member.name).name: member for member in kit.getmembers() if member.isfile()}
            meta, truth = (_content(kit, files[wanted]) for wanted in (META, TRUTH))
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError) as error:
        raise ValueError(cannot_be_read(name, error)) from error
    return parse(meta, truth, name)


def parse(meta: bytes, truth: bytes, name: str) -> Devkit:
    """The kit from its two files. Only leaves of the hierarchy are classes (`num_children` is 0)."""
    try:
        leaves = [
            (int(row["ILSVRC2012_ID"][0]), str(row["WNID"]), str(row["words"]))
            for row in read_structs(meta, "synsets")
            if int(row["num_children"][0]) == 0
        ]
        ids = tuple(int(line) for line in truth.split())
    except (OSError, EOFError, KeyError, ValueError, TypeError, IndexError) as error:
        raise ValueError(cannot_be_read(name, error)) from error
    wnid_of = {ilsvrc_id: wnid for ilsvrc_id, wnid, _ in leaves}
    if set(ids) - set(wnid_of) or len(wnid_of) != len(leaves):
        unknown = sorted(set(ids) - set(wnid_of))
        raise ValueError(f"{name}: the ground truth has ids that {META} does not: {unknown[:5]}")
    classes = tuple(sorted((Class(wnid, words) for _, wnid, words in leaves), key=lambda each: each.wnid))
    return Devkit(name=name, classes=classes, wnid_of=wnid_of, truth=ids)


def cannot_be_read(name: str, error: Exception) -> str:
    """The message for a kit that is none."""
    return (
        f"{name} cannot be read as the ILSVRC2012 development kit ({type(error).__name__}: {error}): get the file again"
    )


def _content(kit: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = kit.extractfile(member)
    assert file is not None  # `isfile` was asked
    return file.read()
