"""What a split on disk holds: the one truth about it, written last, so that a split without it does not exist.

A complete example stands in `docs/format.md`; a test loads that very example.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from imagefeed.pipeline.dataset.fields import Field
from imagefeed.pipeline.dataset.statistics import Statistics
from imagefeed.pipeline.dataset.type_check import type_check
from imagefeed.pipeline.files.atomic import write_atomically
from imagefeed.pipeline.files.marks import MANIFEST as MANIFEST
from imagefeed.pipeline.files.marks import RECORDS as RECORDS
from imagefeed.pipeline.files.marks import SAMPLES as SAMPLES
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.formats.left_out import LeftOut
from imagefeed.pipeline.image.stored import Storage
from imagefeed.pipeline.runtime.os_errors import doing

MEAN_IMAGE = "mean_image.npy"
QUARANTINE = "quarantine.parquet"
VERSION = 1


@dataclass(frozen=True)
class Class:
    """One class: its WordNet id (or folder name), which the classes are sorted by, and its words."""

    wnid: str
    words: str

    @property
    def short(self) -> str:
        """What it is called in little room: the first of its words, or its id where it has none."""
        return self.words.split(",")[0] or self.wnid


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard file: a name in the split's folder or, in an index of shards that others made, an absolute path."""

    name: str
    num_samples: int
    num_bytes: int
    sha256: str | None  # None in an index: nobody has read the whole file
    modified_ns: int | None = (
        None  # in an index: when the file was last written, nanoseconds since 1970; at a URL its stamp
    )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One split of a dataset."""

    split: str
    format: Format
    classes: tuple[Class, ...]
    num_samples: int
    num_quarantined: int
    storage: Storage | None  # None in an index: each sample says for itself
    shards: tuple[Shard, ...]
    statistics: Statistics | None  # None in an index and of files that were copied, unless they were asked for
    files: dict[str, str]  # sha256 of the other files of the split, by name
    digest: str  # sha256 of the source's listing and the options: what the split was made from
    fields: dict[str, Field] = field(default_factory=dict)  # columns of the table beyond its own; see `fields.py`
    class_order: Literal["", "natural"] = ""  # natural: of classes that the alphabet would have in another order
    left_out: LeftOut = LeftOut()  # what else the source held

    @property
    def is_index(self) -> bool:
        """Whether the shards are somebody else's, listed where they lie."""
        return self.storage is None

    def to_json(self) -> str:
        """Canonical text: the same manifest gives the same bytes."""
        record = {"imagefeed": VERSION, **asdict(self)}
        if not self.fields:  # as it was before there were any
            del record["fields"]
        if not self.class_order:
            del record["class_order"]
        if not self.left_out:
            del record["left_out"]
        return json.dumps(record, indent=1, sort_keys=True) + "\n"

    def save(self, split_dir: Path) -> None:
        """Writes `manifest.json` atomically. Everything that it names must be on disk already."""
        write_atomically(split_dir / MANIFEST, self.to_json().encode())

    @staticmethod
    def load(split_dir: Path) -> "Manifest":
        """Reads `split_dir/manifest.json`.

        Raises `FileNotFoundError` where the split does not exist or was not finished, `ValueError` where the file
        is no manifest of this version.
        """
        path = Path(split_dir) / MANIFEST
        try:
            with doing("read", path):
                content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(missing(Path(split_dir))) from error
        return Manifest.parse(content, str(path))

    @staticmethod
    def parse(content: bytes, name: str) -> "Manifest":
        """A manifest from the bytes of its file, which is called `name` in errors. `ValueError` as in `load`."""
        try:
            record = json.loads(content)
            if record.pop("imagefeed") != VERSION:
                raise ValueError(f"it is not of version {VERSION}")
            return from_record(record)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{name} is not a manifest that can be read ({error}): convert the source again"
            ) from error


def from_record(record: dict[str, Any]) -> Manifest:
    """A manifest from its parsed JSON; unknown or missing keys and values of another type raise."""
    storage, statistics = record.pop("storage"), record.pop("statistics")
    manifest = Manifest(
        classes=tuple(Class(**each) for each in record.pop("classes")),
        storage=None if storage is None else Storage(**storage),
        shards=tuple(Shard(**each) for each in record.pop("shards")),
        statistics=None
        if statistics is None
        else Statistics(**{key: freeze(value) for key, value in statistics.items()}),
        fields={name: Field(**each) for name, each in record.pop("fields", {}).items()},
        left_out=LeftOut(**record.pop("left_out", {})),
        **record,
    )
    type_check(manifest, Manifest, "")
    return manifest


def freeze(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(map(freeze, value)) if isinstance(value, list) else value


def splits_in(folder: Path) -> list[str]:
    """The finished splits below `folder`, as relative names: `train`, `val`, `tar/train`, ..."""
    found = [*folder.glob(f"*/{MANIFEST}"), *folder.glob(f"*/*/{MANIFEST}")]
    return sorted(str(path.parent.relative_to(folder)) for path in found)


def missing(folder: Path) -> str:
    """Why `folder` is not a split, and what to do."""
    if not folder.is_dir():
        within = (
            f": {folder.parent} is a split itself; name the folder that holds it, {folder.parent.parent}"
            if (folder.parent / MANIFEST).is_file()
            else ""
        )
        return f"{folder}: no such folder{within}"
    splits = splits_in(folder)
    if splits:
        return f"{folder} is not a split but holds some: open one of {', '.join(str(folder / s) for s in splits)}"
    return (
        f"{folder} holds no {MANIFEST} and no tar or beton: it is no dataset, or its conversion has not finished; run "
        "it again, it goes on where it stopped"
    )
