"""A file of which ranges are read: one that is open here, by its descriptor, or one elsewhere."""

import os
from typing import Protocol

from imagefeed.pipeline.runtime.os_errors import explained


class RangedFile(Protocol):
    """A file elsewhere."""

    def pread(self, size: int, offset: int) -> bytes:
        """`size` bytes from `offset` on, fewer where the file ends before. Raises `OSError` with the file's URL."""
        ...


Readable = int | RangedFile


def pread(file: Readable, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on, fewer where the file ends before. Raises `OSError` with the file's path."""
    if not isinstance(file, int):
        return file.pread(size, offset)
    try:
        data = os.pread(file, size, offset)
        while len(data) < size and (more := os.pread(file, size - len(data), offset + len(data))):
            data += more  # the kernel gives at most 2 GiB at once
    except OSError as error:
        raise explained(error, "read", file) from error
    return data


AHEAD = 1 << 18  # bytes of a tar elsewhere that one request brings: read on sooner than ask again for the next header
