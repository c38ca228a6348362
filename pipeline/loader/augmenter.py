"""The augmentation alone, for those who have decoded images already and stay with another loader.

    augment = Augmenter(open_dataset("imagenet/train"), LoaderOptions(recipe="alexnet", dtype="float16", layout="NHWC"))
    batch = augment(images, sample_ids, epoch=0)

The same kernel as in our own loader, so the same bits for the same (seed, epoch, sample id).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.kernel.fused import WHY, BatchJob, write_image, write_images
from imagefeed.pipeline.loader.batches import BatchPlanner, in_layout
from imagefeed.pipeline.loader.options import LoaderOptions
from imagefeed.pipeline.runtime.cores import cores_per_rank

IMAGES_PER_THREAD = 16  # to write fewer takes no longer than to start a thread


class Augmenter:
    """Crop, mirror, colour, mean, type and layout of decoded images, as `options` say of recipe, seed and output.

    `dataset` is the split that the images belong to: its statistics and sizes are used. Everything is compiled here.
    Raises `ValueError` where the dataset does not suit the options.
    """

    def __init__(self, dataset: Split, options: LoaderOptions) -> None:
        self.options = options
        self._planner = BatchPlanner(dataset, options)

    def __call__(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        sample_ids: np.ndarray,
        epoch: int,
        position: int = 0,
        seed: int | None = None,
    ) -> torch.Tensor:
        """The batch of `images` (uint8 [n, H, W, 3], or n of [H, W, 3]) with the ids `sample_ids` (int64 [n]).

        `position` is that of the first image in the epoch's order; only alexnet-2012 needs it, because there samples in
        a row share a window. `seed` replaces that of the options. Raises `ValueError` where an image is too small for
        the crop, or not of the mean image's size.
        """
        self._check(images, sample_ids)
        batch, memory = self._planner.memory(len(images))
        ids = np.ascontiguousarray(sample_ids, np.int64)
        job = self._planner.job(self.options.seed if seed is None else seed, epoch, ids, position, memory)
        if isinstance(images, np.ndarray):
            self._write_all(images, job)
        else:
            with self._planner.scratch() as scratch:
                for i, image in enumerate(images):
                    pixels = np.ascontiguousarray(image)
                    job.states[i] = write_image(
                        pixels, job, i, scratch, self._planner.normalization(epoch), self._planner.way.transform
                    )
        if job.states.any():
            first = int(job.states.nonzero()[0][0])
            raise ValueError(f"sample {ids[first]}: {WHY[int(job.states[first])]}")
        return batch

    def _check(self, images: np.ndarray | Sequence[np.ndarray], sample_ids: np.ndarray) -> None:
        """Raises `ValueError` for what the kernel, which checks nothing, would read beyond."""
        if len(images) != len(sample_ids):
            raise ValueError(f"{len(images)} images and {len(sample_ids)} sample ids: give one for each")
        normalization = self._planner.with_colour
        height, width = normalization.height, normalization.width
        for image, sample_id in zip(images, sample_ids, strict=True):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"sample {sample_id}: an image is uint8 [H, W, 3], not {image.dtype} {image.shape}")
            if not image.size:
                raise ValueError(f"sample {sample_id}: its image has no pixels: leave it out")
            if normalization.follows and image.shape[:2] != (height, width):
                raise ValueError(
                    f"sample {sample_id}: its image has {image.shape[0]}x{image.shape[1]} pixels and the mean image "
                    f"{height}x{width}: resize it, or choose mean='channel'"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample in a batch: [3, S, S] or [S, S, 3], ten-crop [10, ...]."""
        return tuple(in_layout(torch.empty(self._planner.buffers.shape, device="meta"), self.options).shape[1:])

    def _write_all(self, images: np.ndarray, job: BatchJob) -> None:
        images = np.ascontiguousarray(images)

        def work() -> None:
            with self._planner.scratch() as scratch:
                write_images(images, job, scratch, self._planner.normalization(job.epoch), self._planner.way.transform)

        most = self.options.num_threads or cores_per_rank()
        num_threads = min(most, -(-len(images) // IMAGES_PER_THREAD))
        with ThreadPoolExecutor(max(1, num_threads)) as threads:  # of this call alone: nothing that a fork could lose
            for done in [threads.submit(work) for _ in range(num_threads)]:
                done.result()
