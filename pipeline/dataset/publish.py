"""How a split comes to be on disk: its tables first, each whole, synced and hashed, and its manifest last.

Whatever ends it whenever, there is no manifest that names what is not there.
"""

import io
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, QUARANTINE, RECORDS, SAMPLES, Manifest
from imagefeed.pipeline.files.atomic import TEMPORARY_PREFIX, sync
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.locks import exclusive_in_turn
from imagefeed.pipeline.files.output_folder import OutputFolder
from imagefeed.pipeline.runtime.os_errors import doing

BEGUN = "begun"  # in the folder of records
OURS = re.compile(
    rf"shard-[0-9]{{5,}}\.(?:tar|beton)|{re.escape(SAMPLES)}|{re.escape(MEAN_IMAGE)}|{re.escape(QUARANTINE)}"
)

FileWriter = Callable[[Path], object]  # writes a file to a path


def publish_split(
    folder: OutputFolder, manifest: Manifest, files: Mapping[str, FileWriter], check: Callable[[], None] = lambda: None
) -> Manifest:
    """Writes `files`, by name, into `folder`, and then the manifest, which is returned.

    It names the files that were written beside those that `manifest` names already. The shards, and these others, must
    be there: `FileNotFoundError` where one of the others is not. `check` is called before the manifest is written and
    raises where it must not be. If anything raises, the folder's manifest is as it was.
    """
    digests = dict(manifest.files)
    for name, write in files.items():
        with folder.new(name) as path:
            write(path)
            digests[name] = file_sha256(path)
    for name in digests:
        if folder.size(name) is None:
            raise FileNotFoundError(f"{folder} has no {name}, which its manifest names: restore it, or convert again")
    manifest = replace(manifest, files=digests)
    check()
    with folder.new(MANIFEST) as path:
        path.write_text(manifest.to_json())
    return manifest


def begin(folder: OutputFolder) -> None:
    """Marks `folder` as one that shards are being written to, before any is there: what lies there then is ours.

    Raises `FileExistsError` where files of others have the names of ours.
    """
    names = folder.names()
    if MANIFEST in names:
        return
    if RECORDS not in names and (odd := strays(names, {})):
        raise FileExistsError(
            f"{folder} holds {odd[0]}, and no conversion has left a mark there: choose another folder, or move it away"
        )
    with folder.below(RECORDS).new(BEGUN) as path:
        path.write_bytes(b"")


def strays(names: Iterable[str], named: Collection[str]) -> list[str]:
    """Files that are called like those of a split and are not `named`: an interrupted run with other options left them.

    A reader that takes all shards of the folder would see samples twice.
    """
    return sorted(name for name in names if OURS.fullmatch(name) and name not in named)


def files_of(manifest: Manifest) -> set[str]:
    """The files in the folder of a finished split, but the manifest."""
    return {*manifest.files, *(shard.name for shard in manifest.shards)}


def tidy(folder: OutputFolder, manifest: Manifest) -> None:
    """Removes what is not of the finished split in `folder`, which `begin` has marked, and the mark last."""
    for name in strays(folder.names(), files_of(manifest)):
        folder.discard(name)
    folder.below(RECORDS).remove()


def publish_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """The split `folder`, with what `write` writes into it, appears whole or not at all; one that is there stays.

    Of several processes that want the same one, one writes and the others wait for it.
    """
    if (folder / MANIFEST).is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    notice = f"another process is writing {folder}: waiting for it"
    with exclusive_in_turn(folder.with_name(f".{folder.name}.lock"), notice):
        for stray in folder.parent.glob(f"{TEMPORARY_PREFIX}*-{folder.name}"):  # of a killed process
            shutil.rmtree(stray)
        if (folder / MANIFEST).is_file():
            return
        temporary = folder.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{folder.name}")
        temporary.mkdir()
        try:
            write(temporary)
            with doing("written", folder):
                sync(temporary)
                temporary.rename(folder)
                sync(folder.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def table_writer(table: pa.Table) -> FileWriter:
    """Writes a table as Parquet."""
    return partial(pq.write_table, table)


def array_writer(array: np.ndarray) -> FileWriter:
    """Writes an array as `.npy`, whatever the file is called."""

    return partial(write_array, array)


def write_array(array: np.ndarray, path: Path) -> None:
    """Writes an array as `.npy`. By way of memory: of a full disk NumPy says how many bytes it has written, no more."""
    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getbuffer())


def copy_writer(source: Path) -> FileWriter:
    """Copies a file."""
    return partial(shutil.copyfile, source)
