"""The loader `ffcv`: FFCV reads, schedules and decodes; order, augmentation and state are ours."""

import hashlib
from collections.abc import Generator
from pathlib import Path

import numpy as np
from ffcv.fields.rgb_image import RGBImageField
from ffcv.reader import Reader

from imagefeed.pipeline.dataset.digests import spell_shards
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.locks import exclusive_in_turn
from imagefeed.pipeline.files.paths import below_home, home
from imagefeed.pipeline.formats.beton_merge import merge
from imagefeed.pipeline.interop.base import OtherLoader
from imagefeed.pipeline.interop.ffcv_ops import Augment, Decode, SafeLoader, beton_rows
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.options import LoaderOptions, order_of
from imagefeed.pipeline.runtime.cores import cores_per_rank
from imagefeed.pipeline.sampling.order import PAD


class FFCV(OtherLoader):
    """The same batches as from our own loader, to the bit, by FFCV's threads. See `OtherLoader`."""

    name, format = "ffcv", "beton"

    def __init__(self, dataset: Split, options: LoaderOptions) -> None:
        super().__init__(dataset, options)
        columns = dataset.columns
        if (columns.height != columns.height[0]).any() or (columns.width != columns.width[0]).any():
            raise ValueError(f"{dataset.path} stores images of several sizes, which the loader ffcv does not read")
        beton = in_one_file(dataset)
        self._samples = np.argsort(beton_rows(dataset))  # of the file, for each row of the table
        self._augment = Augment(dataset, options)
        fields = Reader(str(beton)).handlers
        image = next(name for name, field in fields.items() if isinstance(field, RGBImageField))
        self._loader = SafeLoader(
            str(beton),
            options.batch_size,
            options.num_threads or cores_per_rank(),
            os_cache=True,
            drop_last=False,
            batches_ahead=options.prefetch,
            pipelines={**dict.fromkeys(fields), image: [Decode(dataset), self._augment]},
        )

    def __len__(self) -> int:
        return self.options.rank_slice.num_batches(self.num_samples)

    def batches(self, seed: int, epoch: int, position: int) -> Generator[Batch, None, None]:
        """See `OtherLoader`."""
        rank_slice, order = self.options.rank_slice, order_of(self.dataset, self.options, seed, epoch)
        starts = range(
            position,
            position + rank_slice.num_batches(len(order), position) * rank_slice.global_batch,
            rank_slice.global_batch,
        )
        batches = [rows[rows != PAD] for rows in (rank_slice.entries(order, start) for start in starts)]
        self._augment.begin(epoch, position, seed)
        decoded = self._loader.over(self._samples[np.concatenate(batches)]) if batches else iter(())
        for rows in batches:  # only the last one may be short, and then it may be empty on this rank
            images = next(decoded)[0] if len(rows) else None
            yield self.padded(images, rows)


def in_one_file(dataset: Split) -> Path:
    """A beton of all samples, ordered by (shard, offset): FFCV opens a single file.

    That of several shards is made once, below $IMAGEFEED_HOME/merged, and takes as much space as they do.
    """
    shards = dataset.manifest.shards
    files = [dataset.path / shard.name for shard in shards]
    if len(files) == 1:
        return files[0]
    folder = home() / "merged"
    name = hashlib.sha256(spell_shards(shards).encode()).hexdigest()
    merged = folder / f"{name}.beton"
    # Of several ranks one makes it and the others wait.
    notice = f"another process is writing {merged}: waiting for it"
    with below_home(folder), exclusive_in_turn(folder / f"{name}.lock", notice):
        if not merged.exists():
            merge(files, merged)
    return merged
