"""How a split comes to be on disk: its tables first, each whole, synced and hashed, and its manifest last.

Whatever ends it whenever, there is no manifest that names what is not there.
"""

import io
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.dataset.manifest import MANIFEST, Manifest
from imagefeed.pipeline.files.atomic import TEMPORARY_PREFIX, sync
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.locks import exclusive_in_turn
from imagefeed.pipeline.files.output_folder import OutputFolder
from imagefeed.pipeline.runtime.os_errors import doing

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
