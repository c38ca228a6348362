"""WebDataset on our tar shards: worker processes of a `WebLoader`, a shuffle buffer of 1,000 and shuffled shards.

Whole batches are made in the workers, in shared memory; see `plain` for what is done to an image. Each worker reads
its own shards, so there are twice as many shards as workers.
"""

from benchmarks.contenders import FP32, UINT8, Epoch, Work
from benchmarks.contenders.plain import Augment

PACKAGE = "webdataset"
OUTPUTS = (FP32, UINT8)
STORED = ("jpeg",)


def open(work: Work) -> Epoch:
    """Its loader."""
    import webdataset

    shards = sorted(map(str, (work.data / "tar" / "train").glob("*.tar")))
    dataset = (
        webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
        .shuffle(1000)
        .to_tuple("jpg", "cls")
        .map_tuple(bytes, int)
        .batched(work.batch_size, collation_fn=list)
        .map(Augment(work, shared=True))
    )
    loader = webdataset.WebLoader(dataset, batch_size=None, num_workers=work.threads, persistent_workers=True)
    return lambda: sum(len(labels) for _, labels in loader)
