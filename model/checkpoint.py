"""A checkpoint is one file that is whole or absent, and holds all that a run needs to go on.

There is no state of a random generator in it: the loader's draws and dropout's are functions of seed, epoch, step and
rank, all of which are here.
"""

import errno
import os
import pickle
import secrets
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypedDict, cast

import torch
from torch import Tensor

FORMAT = 2
_LONGEST_END = 2**16 + 22  # bytes of the record that ends a zip
_CURE = "give another checkpoint, or train again with jobs/train.py"


class Checkpoint(TypedDict):
    """Everything is plain numbers, text and tensors, so that reading it never executes anything."""

    format: int
    model_config: dict[str, Any]  # the keyword arguments of AlexNet
    model: dict[str, Any]  # state_dict of the network itself, without the wrapper of a parallel run
    optimizer: dict[str, Any]
    scaler: dict[str, Any]  # of float16's loss; empty for other types
    schedule: dict[str, Any]
    loader: dict[str, Any]  # seed, epoch, position: where the data stand
    epoch: int  # completed epochs
    step: int  # completed steps
    world_size: int  # ranks that wrote it; the same number continues bit for bit
    train_config: dict[str, Any]
    classes: list[str]  # WNIDs; the place in the list is the label
    data_digest: str  # of the training manifest
    versions: dict[str, str]  # of what wrote it


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes under a temporary name, forces it to disk, renames it to `path`; only then an older one is gone.

    Raises `OSError` with `path` where the disk is full, or fails otherwise.
    """
    temporary = path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")
    try:
        with temporary.open("wb") as file:
            _save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)  # the rename itself is durable only when the folder is
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _save(checkpoint: Checkpoint, file: IO[bytes]) -> None:
    """Of a write that fails torch says a place in its own source; what the system said is raised instead."""
    target = _Target(file)
    try:
        torch.save(dict(checkpoint), cast(IO[bytes], target))
    except RuntimeError as error:
        raise target.error or error from error


class _Target:
    """A file for `torch.save`, which keeps the error of a write."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _sync_folder(path: Path) -> None:
    """Forces a folder's entries to disk; nothing on a file system that cannot do that."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(folder)


class Writer:
    """Writes checkpoints while training goes on: a copy in memory is taken at once, the file is written by a thread.

    One is in the making at a time. What goes wrong with it is raised by the next `save` or `wait`, so that a full disk
    is not found out at the end of a run.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, path: Path, checkpoint: Checkpoint, afterwards: Callable[[], None] = lambda: None) -> None:
        """Begins to write `checkpoint` to `path`; `afterwards` is called, by the thread, once the file is there."""
        self.wait()
        copy = cast(Checkpoint, _copied(checkpoint))

        def write() -> None:
            try:
                save_checkpoint(path, copy)
                afterwards()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=write, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Returns once what was begun is on disk. Raises what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def _copied(value: Any) -> Any:
    """The same with copies of all tensors, in the CPU's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def load_checkpoint(path: Path, *, num_classes: int | None = None) -> Checkpoint:
    """Reads `path` with all tensors on the CPU; no code in it is run.

    Raises FileNotFoundError where there is none, OSError where the disk fails, and ValueError where it is cut short,
    altered (every record has its CRC), another program's, of another format, or made for another number of classes than
    `num_classes`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; jobs/train.py writes one into its --out folder")
    try:
        _read_end(path)
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        if altered is None:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: cut short, or no checkpoint ({error}); {_CURE}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path}: no checkpoint of imagefeed ({type(error).__name__}); {_CURE}") from error
    if altered is not None:
        raise ValueError(f"{path}: the record {altered} was altered after it was written; {_CURE}")
    _check(path, content, num_classes)
    return cast(Checkpoint, content)


def _read_end(path: Path) -> None:
    """Raises `OSError` where the disk fails at the end of a file: zipfile would take it for another kind of file."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_END))
        file.read()


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
