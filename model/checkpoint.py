"""A checkpoint is one file that is whole or absent, and holds all that a run needs to go on."""

import os
import pickle
import secrets
import zipfile
from pathlib import Path
from typing import Any, TypedDict, cast

import torch

FORMAT = 1
_CURE = "give another checkpoint, or train again with jobs/train.py"


class Checkpoint(TypedDict):
    """Everything is plain numbers, text and tensors, so that reading it never executes anything."""

    format: int
    model_config: dict[str, Any]  # the keyword arguments of AlexNet
    model: dict[str, Any]  # state_dict of the network itself, without the wrapper of a parallel run
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    loader: dict[str, Any]  # seed, epoch, position: where the data stand
    epoch: int  # completed epochs
    step: int  # completed steps
    world_size: int  # ranks that wrote it; the same number continues bit for bit
    train_config: dict[str, Any]
    classes: list[str]  # WNIDs; the place in the list is the label
    data_digest: str  # of the training manifest


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes under a temporary name, forces it to disk, renames it to `path`; only then an older one is gone."""
    temporary = path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")
    try:
        with temporary.open("wb") as file:
            torch.save(dict(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself is durable only when the folder is
    finally:
        os.close(folder)


def load_checkpoint(path: Path, *, num_classes: int | None = None) -> Checkpoint:
    """Reads `path` with all tensors on the CPU; no code in it is run.

    Raises FileNotFoundError where there is none, and ValueError where it is cut short, altered (every record has
    its CRC), another program's, of another format, or made for another number of classes than `num_classes`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; jobs/train.py writes one into its --out folder")
    try:
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        if altered is None:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: cut short, or no checkpoint ({error}); {_CURE}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path}: no checkpoint of imagefeed ({type(error).__name__}); {_CURE}") from error
    if altered is not None:
        raise ValueError(f"{path}: the record {altered} was altered after it was written; {_CURE}")
    _check(path, content, num_classes)
    return cast(Checkpoint, content)


def _check(path: Path, content: object, num_classes: int | None) -> None:
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError(f"{path}: no checkpoint of imagefeed (it has no 'format'); {_CURE}")
    if content["format"] != FORMAT:
        raise ValueError(f"{path}: format {content['format']}, this version reads {FORMAT}; {_CURE}")
    missing = Checkpoint.__required_keys__ - content.keys()
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(sorted(missing))}; {_CURE}")
    if num_classes is not None and len(content["classes"]) != num_classes:
        raise ValueError(
            f"{path}: trained for {len(content['classes'])} classes, the data have {num_classes}; "
            "give the data it was trained on, or another checkpoint"
        )
