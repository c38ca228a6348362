"""ReLU and local response normalisation, forward and backward, on a CPU: ours, torch's own, our plain twin.

    python -m benchmarks.bench_lrn_cpu --batch-size 32 --threads 1

On the outputs of conv1 and conv2 at full width, float32, contiguous and channels-last. Contenders alternate within a
run; a figure is the time of one eager forward and backward, which is what a step of training does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from benchmarks.record import record
from imagefeed.model.lrn import local_response_norm, reference

SHAPES = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
CONTENDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "ours": lambda x: local_response_norm(x, relu="before"),
    "torch": lambda x: F.local_response_norm(F.relu(x), 5, alpha=5e-4, beta=0.75, k=2.0),
    "plain twin": lambda x: reference(x, 5, 1e-4, 0.75, 2.0, "before", 1),
}


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    batch_size: int = 32
    """Images a batch."""
    repeats: int = 7
    """Measurements of each contender, in turn."""
    threads: int = 1
    """Of torch."""


def seconds(function: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor) -> float:
    started = time.perf_counter()
    torch.autograd.grad(function(x), x, dy)
    return time.perf_counter() - started


def main(config: BenchConfig) -> None:
    """Prints the table and records its rows."""
    torch.set_num_threads(config.threads)
    print(f"{'case':24} {'contender':12} {'min':>8} {'median':>8} {'max':>8} ms")
    for layer, shape in SHAPES.items():
        for layout, memory_format in LAYOUTS.items():
            generator = torch.Generator().manual_seed(0)
            x, dy = (
                torch.randn((config.batch_size, *shape), generator=generator).to(memory_format=memory_format)
                for _ in range(2)
            )
            x = (100 * x).requires_grad_()
            for function in CONTENDERS.values():  # also the first call of each, which is slower
                torch.testing.assert_close(function(x), CONTENDERS["plain twin"](x), rtol=1e-4, atol=1e-4)
            rounds = [{name: seconds(f, x, dy) for name, f in CONTENDERS.items()} for _ in range(config.repeats)]
            for name in CONTENDERS:
                times = sorted(1000 * each[name] for each in rounds)
                case = f"{layer} {config.batch_size} {layout}"
                print(f"{case:24} {name:12} {times[0]:8.1f} {median(times):8.1f} {times[-1]:8.1f}")
                record("lrn-cpu", name, {"case": case, "threads": config.threads, "ms": times})


if __name__ == "__main__":
    main(tyro.cli(BenchConfig))
