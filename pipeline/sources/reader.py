"""The bytes of a source's images, for whoever has the rows: from this machine one by one, from elsewhere ahead.

From elsewhere a window of rows is asked for while the one before is used. Within a window ranges that lie close to each
other come with one request, and several requests are under way. Memory holds two windows of at most `WINDOW` bytes,
what lies between close ranges among them, and one image more.

A file is the one that was listed if its stamp, looked at after its last range has come, is that of the listing.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from imagefeed.pipeline.files.input_folder import REQUESTS, LocalInput, RemoteInput, input_folder_at, stamp_here
from imagefeed.pipeline.files.open_files import OpenFiles
from imagefeed.pipeline.files.ranged import pread
from imagefeed.pipeline.runtime.os_errors import OF_ONE_FILE, doing
from imagefeed.pipeline.sources.locator import Locator, image_file, parse

WINDOW = 1 << 26  # bytes that are asked for at once; at least one image
GAP = 1 << 17  # bytes between two ranges that are read through sooner than to make two requests
LARGEST = 1 << 23  # bytes of a request, unless one image is larger
CHANGED = "it has changed since it was listed; run again"


def read_rows(root: str, rows: pa.Table) -> Iterator[bytes]:
    """The image files of `rows` (`table.SCHEMA`), in their order, from a source at `root`.

    Raises `ValueError` where a file has changed since it was listed, `OSError` where it cannot be read.
    """
    for found in read_each(root, rows):
        if isinstance(found, OSError):
            raise found
        yield found


def read_each(root: str, rows: pa.Table) -> Iterator[bytes | OSError]:
    """As `read_rows`, but an error of a single file of this machine stands in the place of its image."""
    origin = input_folder_at(root)
    return _read_here(origin, rows) if isinstance(origin, LocalInput) else _read_elsewhere(origin, rows)


def _read_here(origin: LocalInput, rows: pa.Table) -> Iterator[bytes | OSError]:
    with OpenFiles() as files:
        for row in rows.to_pylist():
            address = parse(row["file"])
            try:
                data = _read_range(files, origin, address.file, row)
            except OSError as error:
                if error.errno not in OF_ONE_FILE:
                    raise
                yield error
                continue
            yield _image(data, address, origin.path(address.file), row["offset"])


def _image(data: bytes, address: Locator, path: str, offset: int) -> bytes:
    """The image file in the bytes of a row. Raises `ValueError` with the file and the place where they are damaged."""
    try:
        return image_file(data, address.how)
    except ValueError as error:
        raise ValueError(f"{path}: the image at byte {offset}: {error}") from error


def _read_range(files: OpenFiles, origin: LocalInput, name: str, row: dict) -> bytes:
    path = origin.path(name)
    file = files.descriptor(path, origin.real(name))
    data = pread(file, row["size"], row["offset"])
    if len(data) != row["size"]:
        raise ValueError(f"{path} ends within the image at byte {row['offset']}: {CHANGED}")
    with doing("read", path):
        status = os.fstat(file)
    if stamp_here(status) != row["stamp"]:
        raise ValueError(f"{path} was written to: {CHANGED}")
    return data


def _read_elsewhere(origin: RemoteInput, rows: pa.Table) -> Iterator[bytes]:
    addresses = [parse(file) for file in rows["file"].to_pylist()]
    offsets, sizes = rows["offset"].to_numpy(), rows["size"].to_numpy()
    limits = windows(sizes)
    stamps = dict(zip((address.file for address in addresses), rows["stamp"].to_pylist(), strict=True))
    pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="imagefeed-source")
    left = False  # whether nobody wants the images any more
    part = partial(origin.storage.part, cancelled=lambda: left)
    try:
        ahead = [_ask(pool, part, origin, addresses, offsets, sizes, *limit) for limit in limits[:1]]
        for following in [*limits[1:], None]:
            if following:
                ahead.append(_ask(pool, part, origin, addresses, offsets, sizes, *following))
            yield from ahead.pop(0)
        for found in pool.map(origin.found, stamps):
            if found.stamp != stamps[found.name]:
                raise ValueError(f"{origin.path(found.name)} was written to: {CHANGED}")
    finally:
        left = True
        pool.shutdown(cancel_futures=True)


def _ask(
    pool: ThreadPoolExecutor,
    part: Callable[[str, int, int], bytes],
    origin: RemoteInput,
    addresses: list[Locator],
    offsets: np.ndarray,
    sizes: np.ndarray,
    start: int,
    stop: int,
) -> Iterator[bytes]:
    """Asks for the images of rows `start` to `stop`, and returns what waits for each of them."""
    names = sorted({address.file for address in addresses[start:stop]})
    number = {name: index for index, name in enumerate(names)}
    files = np.array([number[address.file] for address in addresses[start:stop]])
    requests, of_row = coalesce(files, offsets[start:stop], sizes[start:stop])
    answers: list[Future[bytes]] = [pool.submit(part, names[each.file], each.start, each.size) for each in requests]

    def images() -> Iterator[bytes]:
        left = np.bincount(of_row, minlength=len(requests))
        for row, request in enumerate(of_row.tolist(), start):
            at = int(offsets[row]) - requests[request].start
            data = answers[request].result()[at : at + int(sizes[row])]
            left[request] -= 1
            if left[request] == 0:
                answers[request] = Future()  # its bytes may go
            yield _image(data, addresses[row], origin.path(addresses[row].file), int(offsets[row]))

    return images()


def windows(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Ranges [start, stop) of rows by their sizes in bytes (int64 [n]): as many as fit, each with a gap, or one."""
    starts, held = [0], 0
    for row, size in enumerate(sizes.tolist()):
        if held and held + size + GAP > WINDOW:
            starts.append(row)
            held = 0
        held += size + GAP
    return list(pairwise([*starts, len(sizes)]))


class Request(NamedTuple):
    """A range of bytes to be asked for."""

    file: int
    start: int
    size: int


def coalesce(files: np.ndarray, offsets: np.ndarray, sizes: np.ndarray) -> tuple[list[Request], np.ndarray]:
    """The requests that bring the ranges (int64 [n] each), and which of them brings each (int64 [n]).

    Ranges of a file that lie at most `GAP` bytes apart, or over each other, come together, up to `LARGEST` bytes.
    """
    requests: list[Request] = []
    of_row = np.empty(len(files), np.int64)
    for row in np.lexsort((offsets, files)).tolist():
        file, offset, size = int(files[row]), int(offsets[row]), int(sizes[row])
        if requests and requests[-1].file == file:
            start, end = requests[-1].start, requests[-1].start + requests[-1].size
            joined = max(end, offset + size) - start
            if offset <= end + GAP and (joined <= LARGEST or joined <= end - start):
                requests[-1] = Request(file, start, joined)
                of_row[row] = len(requests) - 1
                continue
        requests.append(Request(file, offset, size))
        of_row[row] = len(requests) - 1
    return requests, of_row
