"""What a row's file says where a range of bytes alone is not an image: `<file>#<how>`.

train-00000.parquet#SNAPPY/2/7     value 7 of the page of a Parquet column (`parquet_pages.py`)
train.beton#raw/256x320            raw pixels, height by width
shard.00000.mds#grey/256x320       grey levels, height by width
photos.zip#deflate/12345           a deflated member, and its bytes when it is unpacked
"""

import re
from typing import NamedTuple

from imagefeed.pipeline.formats.parquet_pages import Codec, value
from imagefeed.pipeline.formats.zip import inflated

LOCATOR = re.compile(
    r"(?s:(.*\.(?:parquet|beton|mds|bin|(?i:zip))))#([A-Z_0-9]+/\d+/\d+|deflate/\d+|(?:raw|grey)/\d+x\d+)"
)
PORTABLE = {"raw": b"P6", "grey": b"P5"}  # raw pixels become a PPM or a PGM, which Pillow reads to the same pixels


class Locator(NamedTuple):
    """Where bytes are, and what is to be made of them: "" for nothing."""

    file: str
    how: str


def parse(file: str) -> Locator:
    """The two parts of a row's `file`."""
    found = LOCATOR.fullmatch(file)
    return Locator(found[1], found[2]) if found else Locator(file, "")


def image_file(data: bytes, how: str) -> bytes:
    """The bytes of an image file from those of a row. Raises `ValueError` where they are damaged."""
    if not how:
        return data
    kind, _, rest = how.partition("/")
    if kind in PORTABLE:
        height, width = map(int, rest.split("x"))
        return b"%s\n%d %d\n255\n" % (PORTABLE[kind], width, height) + data
    if kind == "deflate":
        return inflated(data, int(rest))
    levels, origin = map(int, rest.split("/"))
    return value(data, Codec(kind, levels), origin)
