"""A file appears under its final name whole and on disk, or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagefeed.pipeline.runtime.os_errors import doing

CANNOT_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP})  # of a folder: that file system has no such thing
TEMPORARY_PREFIX = ".tmp-"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; after the block it is synced and renamed to `path`.

    If the block raises, the temporary file is removed and `path` is as it was. The temporary name is unique, so two
    attempts at one file (a task that was thought lost and its successor) never write into each other; what a killed
    one leaves behind is swept by `sweep`. An `OSError` names `path`.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{path.name}")
    try:
        with doing("written", path):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)  # the rename itself is durable only when the folder is
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to `path` as `atomic` does."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Forces a file's bytes, or a folder's entries, to disk; nothing where a file system cannot do that to folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Removes the temporary files that killed runs left in `folder`. Only for whoever writes there alone."""
    for stray in folder.glob(f"{TEMPORARY_PREFIX}*"):
        stray.unlink(missing_ok=True)
