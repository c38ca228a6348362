"""LitData: the JPEGs and labels as its chunks (`optimize`), a `StreamingDataset` in a `StreamingDataLoader`.

The workers make whole batches in `collate_fn`, in shared memory; see `plain` for what is done to an image.
"""

from pathlib import Path

from benchmarks.contenders import FP32, UINT8, Epoch, Work
from benchmarks.contenders.plain import Augment
from benchmarks.contenders.torch import Files

PACKAGE = "litdata"
OUTPUTS = (FP32, UINT8)
STORED = ("jpeg",)


def prepare(files: Path, out: Path) -> None:
    """Writes the chunks."""
    from litdata import optimize

    dataset = Files(files)
    optimize(
        fn=dataset.__getitem__,
        inputs=list(range(len(dataset))),
        output_dir=str(out),
        chunk_bytes="16MB",
        num_workers=1,
        verbose=False,
    )


def open(work: Work) -> Epoch:
    """Its loader, shuffled."""
    from litdata import StreamingDataLoader, StreamingDataset

    if not (work.data / "litdata" / "index.json").exists():
        prepare(work.data / "files", work.data / "litdata")

    loader = StreamingDataLoader(
        StreamingDataset(str(work.data / "litdata"), shuffle=True),
        batch_size=work.batch_size,
        num_workers=work.threads,
        collate_fn=Augment(work, shared=True),
        persistent_workers=True,
    )
    return lambda: sum(len(labels) for _, labels in loader)
