"""How an image is stored: as a JPEG, as raw pixels, or as it was found."""

from dataclasses import dataclass
from typing import Literal

MOST_PIXELS = 178_956_970  # Pillow's own limit: beyond it a file is taken for an attack
JPEG, RAW, OTHER = 0, 1, 2  # kinds of payload, see `docs/format.md`
Encoding = Literal["jpeg", "raw", "as found"]
Sampling = Literal["4:2:0", "4:4:4"]
HuffmanTables = Literal["shared", "standard"]


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How each image is stored."""

    resize: str  # as it was asked for, see `pipeline.image.resize`
    size: int  # pixels, of the side that `resize` speaks of; 0 for "none"
    encoding: Encoding
    quality: int | None  # of the JPEG, 1 to 100; None for raw pixels and for files as they were found
    codec: str  # the library that wrote the JPEGs: other versions may write other bytes
    sampling: Sampling = "4:2:0"  # of the JPEGs that were written; the defaults are those of older manifests
    huffman: HuffmanTables = "standard"
