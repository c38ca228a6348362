"""The names of a source's classes whose labels are numbers, from `classes.txt` at its root."""

import pyarrow as pa

from imagefeed.pipeline.dataset.classes import CLASSES, parse_classes
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.input_folder import InputFolder


def read_names(origin: InputFolder, files: pa.Table) -> tuple[Class, ...] | None:
    """The classes; None without the file among `files`."""
    if files["name"].index(CLASSES).as_py() < 0:
        return None
    return parse_classes(origin.read(CLASSES), origin.path(CLASSES))
