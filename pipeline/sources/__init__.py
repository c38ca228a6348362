"""Where images come from. Each kind of input is a file here that lists it, without decoding or unpacking.

A source is a table a split: one row an image, sorted by key, with the range of bytes that holds it. Whoever has the
row can read the image, on any machine that sees the files.
"""

from pathlib import Path

from pipeline.sources import folder, ilsvrc2012
from pipeline.sources.table import Source

KINDS = (ilsvrc2012, folder)


def open_source(path: Path) -> Source:
    """Lists the images below `path`, whatever kind of source it is.

    Raises `FileNotFoundError` or `ValueError`, which name what is wrong and what would be taken.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder")
    if not path.is_dir():
        raise ValueError(f"{path} is a file: give the folder that holds it")
    for kind in KINDS:
        if kind.recognises(path):
            return kind.open_source(path)
    raise ValueError(
        f"{path} holds nothing to convert: expected the ILSVRC2012 downloads ({', '.join(ilsvrc2012.FILES)}) "
        "or a folder a class with images in it, or such folders under train/ and val/"
    )
