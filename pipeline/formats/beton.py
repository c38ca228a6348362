"""Beton: FFCV's file format, version 2, with the fields `image` (RGB) and `label` (int).

    header (24 bytes) | 2 field descriptors (1,041 each) | one metadata row a sample (24) | zeros to a page boundary
    pages of payloads (a payload never crosses a page) | allocation table, one row a payload (24), to the end

All numbers are little-endian and all pointers are offsets in the file. The field types below state it exactly; for
the same payloads the bytes are those of `ffcv.writer.DatasetWriter(num_workers=1)`, which a test shows. FFCV
itself is not needed to write.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from pipeline.manifest import Encoding

VERSION = 2
PAGE_SIZE = 1 << 23  # bytes; FFCV's own default

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("allocations_at", "<u8"),  # 0 until the file is complete
    ]
)
FIELD = np.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "V1024")])
SAMPLE = np.dtype(
    {
        "names": ["mode", "width", "height", "pointer", "label"],
        "formats": ["u1", "<u2", "<u2", "<u8", "<i8"],
        "offsets": [0, 1, 3, 5, 16],
        "itemsize": 24,
    }
)
ALLOCATION = np.dtype([("sample", "<u8"), ("pointer", "<u8"), ("size", "<u8")])

IMAGE_FIELD, INT_FIELD = 2, 1  # FFCV's type ids
MODES: dict[Encoding, int] = {"jpeg": 0, "raw": 1}


class BetonWriter:
    """Writes a shard; see `pipeline.formats` for the contract.

    The metadata come first in the file, so room for `capacity` rows is kept; fewer samples may be added.
    """

    def __init__(self, path: Path, encoding: Encoding, capacity: int) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._mode = MODES[encoding]
        self._samples = np.zeros(capacity, SAMPLE)
        self._allocations = np.zeros(capacity, ALLOCATION)
        self._count = 0
        front = HEADER.itemsize + 2 * FIELD.itemsize + self._samples.nbytes
        self._position = self._file.seek(front + -front % PAGE_SIZE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._finish()

    def add(self, key: str, label: int, payload: bytes, height: int, width: int) -> int:
        """Stores one image (a JPEG, or H * W * 3 raw bytes); returns its offset, bytes."""
        if len(payload) > PAGE_SIZE:
            raise ValueError(f"{key}: {len(payload)} bytes do not fit into a beton's page of {PAGE_SIZE}: write tar")
        left_in_page = -self._position % PAGE_SIZE
        if len(payload) > left_in_page:
            self._position = self._file.seek(self._position + left_in_page)
        pointer, row = self._position, self._count
        self._position += self._file.write(payload)
        self._samples[row] = (self._mode, width, height, pointer, label)
        self._allocations[row] = (row, pointer, len(payload))
        self._count += 1
        return pointer

    def _finish(self) -> None:
        """Allocation table, then the front: header, fields, metadata."""
        table_at = self._position + -self._position % PAGE_SIZE
        self._file.seek(table_at)
        self._file.write(self._allocations[: self._count].tobytes())
        self._file.truncate()
        header = np.array((VERSION, 2, PAGE_SIZE, self._count, table_at), HEADER)
        fields = np.zeros(2, FIELD)
        fields["type_id"] = IMAGE_FIELD, INT_FIELD
        fields["name"] = b"image", b"label"
        self._file.seek(0)
        self._file.write(header.tobytes() + fields.tobytes() + self._samples[: self._count].tobytes())
