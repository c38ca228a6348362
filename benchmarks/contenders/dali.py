"""NVIDIA DALI on the CPU (`device_id=None`): its WebDataset reader on our tars, its decoder of the crop alone.

Crop at a random place and mirror are its own; `crop_mirror_normalize` normalises by channel. No hash, no colour, no
per-pixel mean. Batches stay DALI's tensors. Its pipeline runs on over the ends of epochs: the batches that it has
ready when the clock starts are taken and not counted.
"""

from typing import Any

from benchmarks.contenders import CROP, DEVIATION, FP16, FP32, MEAN, UINT8, Epoch, Work

PACKAGE = "nvidia-dali-cuda120"
OUTPUTS = (FP32, FP16, UINT8)
STORED = ("jpeg",)
AHEAD = 2  # batches, DALI's default


def open(work: Work) -> Epoch:
    """A built pipeline and the iterations that make an epoch."""
    from nvidia.dali import fn, pipeline_def, types

    shards = sorted(map(str, (work.data / "tar" / "train").glob("*.tar")))

    @pipeline_def(batch_size=work.batch_size, num_threads=work.threads, device_id=None, prefetch_queue_depth=AHEAD)
    def augmented() -> Any:
        files, labels = fn.readers.webdataset(
            paths=shards, ext=["jpg", "cls"], random_shuffle=True, initial_fill=1024, name="reader"
        )
        x, y = fn.random.uniform(range=(0.0, 1.0)), fn.random.uniform(range=(0.0, 1.0))
        images = fn.decoders.image_crop(files, crop=(CROP, CROP), crop_pos_x=x, crop_pos_y=y, output_type=types.RGB)
        mirror = fn.random.coin_flip()
        if work.dtype == "uint8":
            return fn.flip(images, horizontal=mirror), labels
        kinds = {"float32": types.FLOAT, "float16": types.FLOAT16}
        images = fn.crop_mirror_normalize(
            images,
            mirror=mirror,
            dtype=kinds[work.dtype],
            output_layout="CHW" if work.layout == "NCHW" else "HWC",
            mean=list(MEAN),
            std=list(DEVIATION),
        )
        return images, labels

    pipeline = augmented()
    pipeline.build()
    images = pipeline.epoch_size("reader")
    batches = -(-images // work.batch_size)

    def epoch() -> int:
        for _ in range(batches + AHEAD):
            delivered, _ = pipeline.run()
            delivered.as_tensor()
        return int(images)

    return epoch
