"""The loader `webdataset`: WebDataset reads and shuffles as most people use it, in worker processes."""

from collections.abc import Generator
from dataclasses import replace
from itertools import islice

import webdataset

from imagefeed.pipeline.dataset.manifest import Shard
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.interop.base import OtherLoader
from imagefeed.pipeline.interop.webdataset_stages import Augment, Count, urls_of
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.options import LoaderOptions
from imagefeed.pipeline.runtime.cores import cores_per_rank

BUFFER = 1000  # samples that each worker mixes, as WebDataset's own examples have it


class WebDataset(OtherLoader):
    """Each sample's pixels are those of our own loader; the order is WebDataset's. See `OtherLoader`.

    A rank has the same shards in every epoch, and each of its workers a part of these; both in a new order each epoch,
    mixed in a buffer. A worker ends with a batch of its own that may be short, so an epoch may have some batches more.
    To resume reads the epoch again from its beginning, and needs the same number of ranks and threads.
    """

    name, format = "webdataset", "tar"

    def __init__(self, dataset: Split, options: LoaderOptions) -> None:
        super().__init__(dataset, options)
        num_shards, ranks = len(dataset.manifest.shards), options.rank_slice.world_size
        if num_shards < ranks:
            raise ValueError(
                f"{dataset.path} has {num_shards} shards for {ranks} ranks: convert with a smaller --shard-size"
            )
        if options.drop_last or options.shuffle == "shards" or options.sample_ids is not None:
            raise ValueError(
                "drop_last, shuffle='shards' and sample_ids are not for the loader webdataset: use imagefeed"
            )
        self._shuffle = options.settled.shuffle if options.shuffle is None else bool(options.shuffle)
        self._num_threads = options.num_threads or cores_per_rank()
        self._most = len(self) * options.rank_slice.global_batch
        # Compiled here once, and inherited by the workers; they must not touch CUDA, so DataLoader itself pins.
        self._unpinned = replace(options, pin_memory=False, num_threads=1)
        _ = Augment(dataset, self._unpinned).planner

    def __len__(self) -> int:
        return max(sum(self._counts(rank)) for rank in range(self.options.rank_slice.world_size))

    def batches(self, seed: int, epoch: int, position: int) -> Generator[Batch, None, None]:
        """See `OtherLoader`. Raises `ValueError` where `position` is none of this number of ranks."""
        skipped, rest = divmod(position, self.options.rank_slice.global_batch)
        if rest:
            raise ValueError("the loader webdataset resumes only on as many ranks as it stopped on")
        num_samples = 0
        for batch in islice(self._pipeline(seed, epoch), skipped, None):
            num_samples += int(batch.valid.sum())
            yield batch
        expected = sum(shard.num_samples for shard in self._shards(self.options.rank_slice.rank))
        if not skipped and num_samples != expected:
            raise ValueError(f"{self.dataset.path}: WebDataset gave {num_samples} of this rank's {expected} samples")
        for _ in range(max(skipped, sum(self._counts(self.options.rank_slice.rank))), len(self)):
            yield self.padded(None, self.dataset.columns.id[:0])

    def _pipeline(self, seed: int, epoch: int) -> webdataset.WebLoader:
        """One epoch of this rank, a stock pipeline made anew: none that is used again shuffles anew."""
        rank, ranks = self.options.rank_slice.rank, self.options.rank_slice.world_size
        key = f"{seed} {epoch} {rank}"  # mixed by Python's own generator, never added up
        source = webdataset.WebDataset(
            urls_of(self.dataset)[rank::ranks],
            nodesplitter=None,  # done, whatever environment and process group say
            shardshuffle=len(self.dataset.manifest.shards) if self._shuffle else False,
            seed=key,
        ).compose(Count(self.dataset))
        if self._shuffle:
            source = source.shuffle(BUFFER, seed=key)
        augment = Augment(self.dataset, self._unpinned, epoch, seed)
        return webdataset.WebLoader(
            source.batched(self.options.batch_size, collation_fn=list).map(augment),
            batch_size=None,
            num_workers=self._workers(rank),
            prefetch_factor=self.options.prefetch,
            pin_memory=self.options.pin_memory,
        )

    def _shards(self, rank: int) -> tuple[Shard, ...]:
        return self.dataset.manifest.shards[rank :: self.options.rank_slice.world_size]

    def _workers(self, rank: int) -> int:
        return min(self._num_threads, len(self._shards(rank)))  # one without shards would be an error

    def _counts(self, rank: int) -> list[int]:
        """Batches of each worker of a rank."""
        workers, size = self._workers(rank), self.options.batch_size
        samples = [sum(shard.num_samples for shard in self._shards(rank)[w::workers]) for w in range(workers)]
        return [-(-count // size) for count in samples]
