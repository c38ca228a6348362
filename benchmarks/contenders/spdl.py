"""SPDL's pipeline engine: its threads run one function a batch, two batches ahead.

`simplejpeg` decodes and not `spdl.io`: through FFmpeg 5.1, the version that Debian 12 has, `spdl.io.load_image` took
6 ms an image, 28 times as long. See `plain` for what is done to an image.
"""

import numpy as np

from benchmarks.contenders import FP32, UINT8, Epoch, Work
from benchmarks.contenders.plain import Augment, Batch
from benchmarks.contenders.torch import Files

PACKAGE = "spdl"
OUTPUTS = (FP32, UINT8)
STORED = ("jpeg",)


def open(work: Work) -> Epoch:
    """A pipeline an epoch, which is how it is used."""
    from spdl.pipeline import PipelineBuilder

    files, rng = Files(work.data / "files"), np.random.default_rng()
    augment = Augment(work, shared=False)

    def load(indices: np.ndarray) -> Batch:
        return augment([files[index] for index in indices])

    def epoch() -> int:
        order = rng.permutation(len(files))
        batches = [order[first : first + work.batch_size] for first in range(0, len(order), work.batch_size)]
        pipeline = (
            PipelineBuilder()
            .add_source(batches)
            .pipe(load, concurrency=work.threads, output_order="input")
            .add_sink(2)
            .build(num_threads=work.threads)
        )
        with pipeline.auto_stop():
            return sum(len(labels) for _, labels in pipeline.get_iterator())

    return epoch
