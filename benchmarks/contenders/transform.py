"""Our loader with a transform in Python, that of `torchvision`: worker processes, our decoder, one shard set."""

from benchmarks.contenders import FP32, Epoch, Work
from benchmarks.contenders.torchvision import PACKAGE, recipe

__all__ = ["OUTPUTS", "PACKAGE", "STORED", "open"]

OUTPUTS = (FP32,)
STORED = ("jpeg",)


def open(work: Work) -> Epoch:
    """The loader, shuffled."""
    from imagefeed.pipeline.loader.dataset import open_dataset

    train = open_dataset(work.data / "tar" / "train")
    loader = train.loader(transform=recipe(tensors=True), batch_size=work.batch_size, num_threads=work.threads)
    return lambda: sum(len(labels) for _, labels in loader.pairs())
