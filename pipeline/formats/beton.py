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
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.ranged import Readable, pread
from imagefeed.pipeline.formats.listing import Listing, check_labels
from imagefeed.pipeline.image.stored import JPEG, RAW

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
MODES = {JPEG: 0, RAW: 1}  # a sample each may have its own

# What a sample's metadata hold for each of FFCV's types of field, by its type id.
POINTER = np.dtype([("pointer", "<u8"), ("size", "<u8")])
IMAGE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("pointer", "<u8")])
METADATA = {
    0: np.dtype("<f8"),
    INT_FIELD: np.dtype("<i8"),
    IMAGE_FIELD: IMAGE,
    3: POINTER,  # bytes
    4: np.dtype("<u8"),  # array
    5: POINTER,  # JSON
    6: np.dtype("<u8"),  # tensor
}
STORED = {2, 3, 4, 5, 6}  # the types whose values lie in the pages, one allocation each


class BetonWriter:
    """Writes a shard; see `pipeline.formats.containers` for the contract.

    The metadata come first in the file, so room for `capacity` rows is kept; fewer samples may be added.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
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

    def add(self, key: str, label: int, payload: bytes | memoryview, kind: int, height: int, width: int) -> int:
        """Stores one image (a JPEG, or H * W * 3 raw bytes); returns its offset, bytes."""
        if kind not in MODES:
            raise ValueError(f"{key}: a beton holds JPEGs of grey or RGB, and raw pixels: write tar")
        if len(payload) > PAGE_SIZE:
            raise ValueError(f"{key}: {len(payload)} bytes do not fit into a beton's page of {PAGE_SIZE}: write tar")
        left_in_page = -self._position % PAGE_SIZE
        if len(payload) > left_in_page:
            self._position = self._file.seek(self._position + left_in_page)
        pointer, row = self._position, self._count
        self._position += self._file.write(payload)
        self._samples[row] = (MODES[kind], width, height, pointer, label)
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


def list_samples(file: Readable, size: int, name: str) -> Listing:
    """The samples of a beton of `size` bytes, anybody's: its field of RGB images and its field of integers.

    Where there are several of a type, the ones named `image` and `label`. `name` is for messages. FFCV reads what it
    finds; here every number that points somewhere is proved first. Raises `ValueError` with the file, and the sample
    where it is one's fault, for a file that is cut short or was never finished, and for one that is damaged.
    """
    header = _read(file, 0, HEADER, 1, size, name)[0]
    version, num_fields, page_size, count, table_at = (int(header[field]) for field in HEADER.fields or ())
    if version != VERSION:
        raise ValueError(f"{name} is no beton of version {VERSION}: it begins with {version}")
    if table_at == 0:
        raise ValueError(f"{name} was not finished: its writer ended before the end; write it again")
    if table_at > size or page_size == 0 or table_at % page_size:
        raise ValueError(f"{name} is cut short or damaged: its allocation table cannot be at byte {table_at} of {size}")
    if not 1 <= num_fields <= len(METADATA) * 100:
        raise ValueError(f"{name} is damaged: {num_fields} fields")
    fields = _read(file, HEADER.itemsize, FIELD, num_fields, size, name)
    types = fields["type_id"].tolist()
    names = [bytes(field).rstrip(b"\0").decode("utf-8", "backslashreplace") for field in fields["name"]]
    for type_id, field in zip(types, names, strict=True):
        if type_id not in METADATA:
            raise ValueError(f"{name}: the field {field} is of a type ({type_id}) that FFCV does not define")
    image, label = (
        choose_field(types, names, *wanted, name) for wanted in ((IMAGE_FIELD, "image"), (INT_FIELD, "label"))
    )
    row = np.dtype([(f"f{i}", METADATA[type_id]) for i, type_id in enumerate(types)], align=True)
    front = HEADER.itemsize + fields.nbytes
    if count == 0:
        raise ValueError(f"{name} holds no sample")
    if count > (table_at - front) // row.itemsize:
        raise ValueError(f"{name} is damaged: no room for the {count} samples that it counts")
    num_allocations, left = divmod(size - table_at, ALLOCATION.itemsize)
    expected = count * sum(type_id in STORED for type_id in types)
    if left or num_allocations != expected:
        raise ValueError(
            f"{name} is cut short or damaged: its allocation table has {size - table_at} bytes and not "
            f"{expected * ALLOCATION.itemsize}"
        )
    samples = _read(file, front, row, count, size, name)
    table = _read(file, table_at, ALLOCATION, num_allocations, size, name)
    pixels, labels = samples[f"f{image}"], samples[f"f{label}"].astype(np.int64)
    key = pc.cast(pa.array(np.arange(count)), pa.string())
    sizes = _sizes(pixels["pointer"], table, front + samples.nbytes, table_at, name)
    mode, height, width = (pixels[field].astype(np.int64) for field in ("mode", "height", "width"))
    for wrong, what in (
        (mode > 1, "has a mode that FFCV does not define"),
        ((height == 0) | (width == 0), "has no pixels"),
        ((mode == MODES[RAW]) & (sizes != 3 * height * width), "has another size than its raw pixels"),
    ):
        if wrong.any():
            raise ValueError(f"{name} is damaged: sample {int(wrong.argmax())} {what}; get the file again")
    check_labels(labels, name, key)
    return Listing(
        key=key,
        label=labels,
        offset=pixels["pointer"].astype(np.int64),
        size=sizes,
        height=height,
        width=width,
        kind=np.where(mode == MODES[RAW], RAW, JPEG).astype(np.uint8),
        classes=None,
    )


def choose_field(types: list[int], names: list[str], type_id: int, preferred: str, name: str) -> int:
    """The place of the one field of a type, or of the one among several that is named `preferred`."""
    found = [place for place, each in enumerate(types) if each == type_id]
    if len(found) > 1:
        found = [place for place in found if names[place] == preferred]
    if len(found) != 1:
        what = "RGB images" if type_id == IMAGE_FIELD else "integers"
        raise ValueError(f"{name}: one field of {what} is needed, or one of several named {preferred}, not {names}")
    return found[0]


def _sizes(pointers: np.ndarray, table: np.ndarray, first: int, end: int, name: str) -> np.ndarray:
    """The size in bytes (int64 [n]) of what lies at each sample's pointer (uint64 [n]), from the allocation table.

    Raises `ValueError` where an allocation lies outside bytes `first` to `end` or over another one, and where a pointer
    is not that of an allocation of the same sample.
    """
    table = table[table["size"] > 0]  # an empty value may lie where the next begins
    table = table[np.argsort(table["pointer"], kind="stable")]
    at, length = table["pointer"], table["size"]
    outside = (at < first) | (at > end) | (length > end - np.minimum(at, end))
    if outside.any():
        raise ValueError(
            f"{name} is damaged: sample {table['sample'][int(outside.argmax())]} lies outside the file's pages; "
            "get the file again"
        )
    over = at[1:] < at[:-1] + length[:-1]
    if over.any():
        raise ValueError(
            f"{name} is damaged: sample {table['sample'][1:][int(over.argmax())]} lies over another one; "
            "get the file again"
        )
    found = np.minimum(np.searchsorted(at, pointers), max(len(at) - 1, 0))
    rows = np.arange(len(pointers))
    wrong = np.ones(len(rows), bool) if not len(at) else (at[found] != pointers) | (table["sample"][found] != rows)
    if wrong.any():
        raise ValueError(
            f"{name} is damaged: the allocation table has no image of sample {int(wrong.argmax())} where it should be; "
            "get the file again"
        )
    return length[found].astype(np.int64)


def _read(file: Readable, offset: int, kind: np.dtype, count: int, size: int, name: str) -> np.ndarray:
    """`count` records at `offset` of a file of `size` bytes."""
    num_bytes = count * kind.itemsize
    data = bytearray(pread(file, max(0, min(num_bytes, size - offset)), offset))
    if len(data) != num_bytes:
        raise ValueError(f"{name} is cut short: {offset + num_bytes} bytes are needed and it has {offset + len(data)}")
    return np.frombuffer(data, kind)
