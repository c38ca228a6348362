"""Grain: a shuffled `MapDataset` of files, read by threads.

An element of the pipeline is a batch, made in one piece by a thread; see `plain` for what is done to an image.
Threads did better here than its worker processes (`mp_prefetch`).
"""

from benchmarks.contenders import FP32, UINT8, Epoch, Work
from benchmarks.contenders.plain import Augment
from benchmarks.contenders.torch import Files

PACKAGE = "grain"
OUTPUTS = (FP32, UINT8)
STORED = ("jpeg",)


def open(work: Work) -> Epoch:
    """Its iterable dataset, with a seed of its own for each epoch."""
    import grain

    files, seeds = Files(work.data / "files"), iter(range(2**31))

    def epoch() -> int:
        shuffled = grain.MapDataset.source(files).shuffle(seed=next(seeds))
        batches = shuffled.batch(work.batch_size, drop_remainder=False, batch_fn=Augment(work, shared=False))
        options = grain.ReadOptions(num_threads=work.threads, prefetch_buffer_size=2 * work.threads)
        return sum(len(labels) for _, labels in batches.to_iter_dataset(options))

    return epoch
