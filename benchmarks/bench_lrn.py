"""ReLU and local response normalisation, forward and backward, on a GPU: our kernels, torch's own, our plain twin.

    python -m benchmarks.bench_lrn --batch-sizes 128 512

On the outputs of conv1 and conv2 at full width, contiguous and channels-last, in bfloat16 and float32. Each figure is
the time of one eager forward and backward, L2 cache cleared before each, launching included (which a small case can
be bound by). GB/s counts the five tensors that have to move: x, y, then x, dy and dx.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from triton.testing import do_bench

from benchmarks.record import record
from model.lrn import local_response_norm, reference

SHAPES = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
CONTENDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "kernels": lambda x: local_response_norm(x, relu="before"),
    "torch": lambda x: F.local_response_norm(F.relu(x), 5, alpha=5e-4, beta=0.75, k=2.0),
    "plain twin": lambda x: reference(x, 5, 1e-4, 0.75, 2.0, "before", 1),
}


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    batch_sizes: tuple[int, ...] = (128, 512)
    """Images a batch."""


def times(function: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor) -> tuple[float, float, float]:
    """Milliseconds of forward and backward: 20th percentile, median, 80th percentile."""
    p20, median, p80 = do_bench(lambda: torch.autograd.grad(function(x), x, dy), quantiles=[0.2, 0.5, 0.8])
    return p20, median, p80


def main(config: BenchConfig) -> None:
    """Prints the table and records its rows."""
    if not torch.cuda.is_available():
        sys.exit(f"bench_lrn measures on a CUDA GPU, and torch {torch.__version__} sees none here")
    gpu = torch.cuda.get_device_name()
    print(f"{gpu}\n{'case':48} {'contender':12} {'p20':>8} {'median':>8} {'p80':>8} ms {'GB/s':>8}")
    for (layer, shape), batch_size, dtype, (layout, memory_format) in product(
        SHAPES.items(), config.batch_sizes, (torch.bfloat16, torch.float32), LAYOUTS.items()
    ):
        generator = torch.Generator("cuda").manual_seed(0)
        x, dy = (
            torch.randn((batch_size, *shape), generator=generator, device="cuda", dtype=dtype).to(
                memory_format=memory_format
            )
            for _ in range(2)
        )
        x = (100 * x).requires_grad_()
        for name, function in CONTENDERS.items():
            torch.testing.assert_close(function(x), CONTENDERS["plain twin"](x), rtol=2e-2, atol=1e-3)
            p20, median, p80 = times(function, x, dy)
            bandwidth = 5 * x.numel() * x.element_size() / median / 1e6
            case = f"{layer} {batch_size} {str(dtype).removeprefix('torch.')} {layout}"
            print(f"{case:48} {name:12} {p20:8.3f} {median:8.3f} {p80:8.3f}    {bandwidth:8.0f}")
            record(
                "lrn",
                name,
                {"case": case, "gpu": gpu, "p20_ms": p20, "median_ms": median, "p80_ms": p80, "gb_per_s": bandwidth},
            )


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
