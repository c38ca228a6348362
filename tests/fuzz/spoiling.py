"""Files that are spoilt for the time of one case, in place, and whole again after it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz.mutations import Edit


class Files:
    """The files of a good input, with what they hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}

    def restore(self) -> None:
        """Writes all of them again: after a child that died with its case."""
        for name, data in self.content.items():
            (self.folder / name).write_bytes(data)

    @contextmanager
    def spoilt(self, edits: dict[str, Edit]) -> Iterator[None]:
        """With `edits` made, one a file. The files stay the same files, so that maps of them see it."""
        try:
            for name, edit in edits.items():
                write(self.folder / name, edit.offset, edit.new, edit.size)
            yield
        finally:
            for name, edit in edits.items():
                data = self.content[name]
                write(self.folder / name, edit.offset, data[edit.offset : edit.offset + len(edit.new)], len(data))
                write(self.folder / name, min(edit.size, len(data)), data[edit.size :], len(data))


def write(path: Path, offset: int, new: bytes, size: int) -> None:
    """Overwrites a part of a file and sets its size, bytes."""
    with open(path, "r+b", buffering=0) as file:
        for start in range(0, len(new), 1 << 30):
            os.pwrite(file.fileno(), new[start : start + (1 << 30)], offset + start)
        file.truncate(size)


def replacing(data: bytes) -> Edit:
    """The edit that makes a file hold `data`, whatever it held."""
    return Edit(0, data, len(data))
