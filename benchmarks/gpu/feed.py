"""How many images a second a GPU can take from pinned memory, finished on the CPU or on the device.

    python -m benchmarks.gpu.feed --batch-size 1024
    python -m benchmarks.gpu.feed --toy

Beside the loader's own images a second (benchmarks/bench_loader.py: uint8, fp16, fp32) this says which feeds more: the
smaller of the two numbers counts. Copies are as in `loader.device`, finishing is
`loader.device_normalize.normalize`.
"""

import argparse
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.gpu.timing import hardware, milliseconds
from benchmarks.record import record
from imagefeed.pipeline.loader.device_normalize import CropParams, normalize

STORED = 256  # pixels, side of the mean image


def batch_of(size: int, crop: int, dtype: torch.dtype, *, pinned: bool) -> Tensor:
    """Crops as the loader gives them, [B, S, S, 3]."""
    images = torch.randint(0, 256, (size, crop, crop, 3), dtype=torch.uint8).to(dtype)
    return images.pin_memory() if pinned else images


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table; records its rows unless it is a toy's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--toy", action="store_true", help="a few small crops on a CPU")
    options = parser.parse_args(arguments)
    toy, gpu = options.toy, hardware(options.toy)
    size, crop, device = (2, 32, "cpu") if toy else (options.batch_size, 224, "cuda")
    mean = torch.full((STORED, STORED, 3), 120.0, device=device)
    scale = torch.ones(3, device=device)
    room = torch.randint(0, STORED - crop + 1, (2, size), device=device)
    what = CropParams(room[0], room[1], room[0] % 2 > 0, torch.randn((size, 3), device=device))

    def copy(dtype: torch.dtype) -> Callable[[], Tensor]:
        images = batch_of(size, crop, dtype, pinned=not toy)
        return lambda: images.to(device, non_blocking=True)

    def copy_and_finish(dtype: torch.dtype) -> Callable[[], Tensor]:
        images = batch_of(size, crop, torch.uint8, pinned=not toy)
        return lambda: normalize(images.to(device, non_blocking=True), what, mean, scale, dtype)

    contenders = {
        "fp32 copied": copy(torch.float32),
        "fp16 copied": copy(torch.float16),
        "uint8 copied": copy(torch.uint8),
        "uint8 copied, finished to fp16": copy_and_finish(torch.float16),
        "uint8 copied, finished to fp32": copy_and_finish(torch.float32),
    }
    print(f"{gpu}, batch {size}\n{'contender':32} {'ms':>8} {'images/s':>10}")
    for name, work in contenders.items():
        _, median, _ = milliseconds(work, toy=toy)
        print(f"{name:32} {median:8.3f} {1e3 * size / median:10,.0f}")
        if not toy:
            record("gpu-feed", name, {"gpu": gpu, "batch_size": size, "median_ms": median})


if __name__ == "__main__":
    main()
