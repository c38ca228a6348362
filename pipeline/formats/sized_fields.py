"""Shards of samples behind a table of offsets, each sample being its fields behind their sizes: MDS and LitData.

    number of samples n (u32) | n + 1 offsets (u32), of each sample and of the end | ... | samples
    a sample: the size of each field that has no fixed one (u32) | the fields

All numbers are little-endian, and offsets count from the start of the file.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.gather import gather, gather_numbers
from imagefeed.pipeline.files.ranged import Readable, pread

CURE = "get the file again"
PIL = 12  # bytes of width, height and the length of the mode, in front of mode and pixels
LONGEST_MODE = 12
PIXELS = {"RGB": ("raw", 3), "L": ("grey", 1)}  # modes that are read: what a locator calls them, bytes of a pixel


def read_offsets(file: Readable, size: int, name: str) -> np.ndarray:
    """Where the n samples of a shard of `size` bytes begin, and the last one ends (int64 [n + 1])."""
    count = int.from_bytes(pread(file, 4, 0), "little")
    front = 4 * (count + 2)
    if size < 8 or front > size:
        raise ValueError(f"{name} is damaged: {count} samples cannot be in {size} bytes; {CURE}")
    offsets = np.frombuffer(pread(file, front - 4, 4), "<u4").astype(np.int64)
    if offsets[0] < front or (np.diff(offsets) < 0).any() or offsets[-1] > size:
        raise ValueError(f"{name} is damaged or cut short: its table of offsets leads outside of {size} bytes; {CURE}")
    return offsets


def find_fields(
    file: Readable, offsets: np.ndarray, fixed: Sequence[int | None], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Where the fields of each sample begin and their sizes (int64 [n, fields] each).

    `fixed` are the sizes of those that have no size of their own in the file. Raises `ValueError` with the sample where
    the sizes do not add up to its own.
    """
    sized = [number for number, each in enumerate(fixed) if each is None]
    whole = np.diff(offsets)
    sizes = np.tile(np.array([each or 0 for each in fixed], np.int64), (len(whole), 1))
    sizes[:, sized] = gather_numbers(file, offsets[:-1], "<u4", len(sized)) if sized else 0
    wrong = 4 * len(sized) + sizes.sum(axis=1) != whole
    if wrong.any():
        sample = int(wrong.argmax())
        raise ValueError(
            f"{name}: sample {sample} is damaged: its fields have {sizes[sample].tolist()} bytes, and it has "
            f"{whole[sample]}; {CURE}"
        )
    starts = offsets[:-1, None] + 4 * len(sized) + np.cumsum(sizes, axis=1) - sizes
    return starts, sizes


def read_numbers(file: Readable, starts: np.ndarray, sizes: np.ndarray, kind: str, name: str) -> np.ndarray:
    """The numbers (NumPy's `kind`, [n]) of a field."""
    if (wrong := sizes != np.dtype(kind).itemsize).any():
        raise ValueError(
            f"{name}: sample {int(wrong.argmax())} is damaged: a number of {sizes[wrong][0]} bytes; {CURE}"
        )
    return gather_numbers(file, starts, kind)[:, 0]


def read_texts(file: Readable, starts: np.ndarray, sizes: np.ndarray, name: str) -> pa.Array:
    """The texts (UTF-8, [n]) of a field."""
    found = []
    for sample, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
        try:
            found.append(pread(file, size, start).decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: sample {sample} has text that is no UTF-8 ({error}): write it again") from error
    return pa.array(found, pa.string())


def pil_images(
    file: Readable, starts: np.ndarray, sizes: np.ndarray, name: str, base: str
) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Raw pixels as Pillow has them, behind width, height and mode: the locators in the file `base` (text [n]), and
    where the pixels are (int64 [n] each: offset, size).

    Raises `ValueError` with the sample for another mode than RGB and L, and where its pixels are not all there.
    """
    heads = gather(file, starts, PIL + LONGEST_MODE)
    width, height, length = np.ascontiguousarray(heads[:, :PIL]).view("<u4").astype(np.int64).T
    of_row = np.zeros(len(starts), np.int64)
    modes = np.array(list(PIXELS), f"S{LONGEST_MODE}")
    text = np.where(np.arange(LONGEST_MODE) < length[:, None], heads[:, PIL:], 0).astype(np.uint8)
    spelled = np.ascontiguousarray(text).view(f"S{LONGEST_MODE}")[:, 0]
    known = np.zeros(len(starts), bool)
    for number, mode in enumerate(modes):
        of_row[spelled == mode] = number
        known |= spelled == mode
    if not known.all():
        sample = int(known.argmin())
        raise ValueError(
            f"{name}: sample {sample} is an image of mode {bytes(spelled[sample]).decode(errors='replace')!r}, and "
            "those of RGB and L are read (raw pixels of others lack what they mean, such as the palette of P): write "
            "it again with image.convert('RGB')"
        )
    depth = np.array([depth for _, depth in PIXELS.values()])[of_row]
    left = sizes - PIL - length
    wrong = (width == 0) | (height == 0) | (left != width * height * depth)
    if wrong.any():
        sample = int(wrong.argmax())
        raise ValueError(
            f"{name}: sample {sample} is damaged: {left[sample]} bytes are no {width[sample]}x{height[sample]} pixels; "
            f"{CURE}"
        )
    how = pa.array([how for how, _ in PIXELS.values()]).take(pa.array(of_row))
    sides = pc.binary_join_element_wise(*(pc.cast(pa.array(each), pa.string()) for each in (height, width)), "x")
    return (
        pc.binary_join_element_wise(base, pc.binary_join_element_wise(how, sides, "/"), "#"),
        starts + PIL + length,
        left,
    )
