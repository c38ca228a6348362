"""torch's own `DataLoader`: one file an image, worker processes that stay from epoch to epoch.

The workers hand over JPEGs in the dataset and make the whole batch in `collate_fn`, in shared memory, so that it is
written once; see `plain` for what is done to an image.
"""

from pathlib import Path
from typing import Any

from benchmarks.contenders import FP32, UINT8, Epoch, Work
from benchmarks.contenders.plain import Augment, Sample

PACKAGE = "torch"
OUTPUTS = (FP32, UINT8)
STORED = ("jpeg",)


class Files:
    """An indexable dataset of a folder with a folder a class."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*/*"))
        self.labels = [int(path.parent.name) for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        return self.paths[index].read_bytes(), self.labels[index]


def open(work: Work) -> Epoch:
    """Its loader, shuffled."""
    from torch.utils.data import DataLoader

    files: Any = Files(work.data / "files")  # which torch's own classes need not be
    loader: Any = DataLoader(
        files,
        batch_size=work.batch_size,
        shuffle=True,
        num_workers=work.threads,
        collate_fn=Augment(work, shared=True),
        persistent_workers=True,
        prefetch_factor=2,
    )
    return lambda: sum(len(labels) for _, labels in loader)
