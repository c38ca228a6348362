"""The bytes of a source's images, for whoever has the rows: from this machine one by one, from elsewhere ahead.

From elsewhere a window of rows is asked for while the one before is used. Within a window ranges that lie close to each
other come with one request, and several requests are under way. Memory holds two windows, `WINDOW` bytes each, and what
lies between close ranges.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.sources.address import Address, image_file, parse
from pipeline.sources.place import REQUESTS, Bucket, Folder, place_at

WINDOW = 1 << 26  # bytes of images that are asked for at once, at least one image
GAP = 1 << 17  # bytes between two ranges that are read through sooner than to make two requests
LARGEST = 1 << 23  # bytes of a request, unless one image is larger
OPEN_FILES = 16
FEW = 64  # files whose stamps are looked at again at the end; of more, each is an image, and has its size


def read_rows(root: str, rows: pa.Table) -> Iterator[bytes]:
    """The image files of `rows` (`table.SCHEMA`), in their order, from a source at `root`.

    Raises `ValueError` where a file has changed since it was listed, `OSError` where it cannot be read.
    """
    place = place_at(root)
    return _read_here(place, rows) if isinstance(place, Folder) else _read_elsewhere(place, rows)


def _read_here(place: Folder, rows: pa.Table) -> Iterator[bytes]:
    files: OrderedDict[str, int] = OrderedDict()  # descriptors, the one that was used last at the end
    try:
        for row in rows.to_pylist():
            address = parse(row["file"])
            path = place.path(address.file)
            if path not in files:
                if len(files) == OPEN_FILES:
                    os.close(files.popitem(last=False)[1])
                files[path] = os.open(path, os.O_RDONLY)
            files.move_to_end(path)
            data = os.pread(files[path], row["size"], row["offset"])
            if len(data) != row["size"]:
                raise ValueError(f"{path} ends within the image at byte {row['offset']}: {CHANGED}")
            if os.fstat(files[path]).st_mtime_ns != row["stamp"]:
                raise ValueError(f"{path} was written to: {CHANGED}")
            yield image_file(data, address.how)
    finally:
        for descriptor in files.values():
            os.close(descriptor)


CHANGED = "it has changed since it was listed; run again"


def _read_elsewhere(place: Bucket, rows: pa.Table) -> Iterator[bytes]:
    addresses = [parse(file) for file in rows["file"].to_pylist()]
    offsets, sizes = rows["offset"].to_numpy(), rows["size"].to_numpy()
    limits = windows(sizes)
    pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="imagefeed-source")
    try:
        ahead = [_ask(pool, place, addresses, offsets, sizes, *limit) for limit in limits[:1]]
        for following in [*limits[1:], None]:
            if following:
                ahead.append(_ask(pool, place, addresses, offsets, sizes, *following))
            yield from ahead.pop(0)
    finally:
        pool.shutdown(cancel_futures=True)
    stamps = dict(zip((address.file for address in addresses), rows["stamp"].to_pylist(), strict=True))
    for file, stamp in stamps.items() if len(stamps) <= FEW else ():
        if place.found(file).stamp != stamp:
            raise ValueError(f"{place.path(file)} was written to: {CHANGED}")


def _ask(
    pool: ThreadPoolExecutor,
    place: Bucket,
    addresses: list[Address],
    offsets: np.ndarray,
    sizes: np.ndarray,
    start: int,
    stop: int,
) -> Iterator[bytes]:
    """Asks for the images of rows `start` to `stop`, and returns what waits for each of them."""
    names = sorted({address.file for address in addresses[start:stop]})
    number = {name: place for place, name in enumerate(names)}
    files = np.array([number[address.file] for address in addresses[start:stop]])
    requests, of_row = coalesce(files, offsets[start:stop], sizes[start:stop])
    answers: list[Future[bytes]] = [
        pool.submit(place.storage.part, names[each.file], each.start, each.size) for each in requests
    ]

    def images() -> Iterator[bytes]:
        left = np.bincount(of_row, minlength=len(requests))
        for row, request in enumerate(of_row.tolist(), start):
            at = int(offsets[row]) - requests[request].start
            data = answers[request].result()[at : at + int(sizes[row])]
            left[request] -= 1
            if left[request] == 0:
                answers[request] = Future()  # its bytes may go
            yield image_file(data, addresses[row].how)

    return images()


def windows(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Ranges [start, stop) of rows, by their sizes in bytes (int64 [n]): as many as fit, at least one."""
    starts, held = [0], 0
    for row, size in enumerate(sizes.tolist()):
        if held and held + size > WINDOW:
            starts.append(row)
            held = 0
        held += size
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
