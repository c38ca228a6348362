"""ReLU, local response normalisation and max pooling, forward and backward, on a GPU, against torch's own.

    python -m benchmarks.gpu.lrn --gb-per-s 4800          # an H200's memory; 3350 for an H100
    TRITON_INTERPRET=1 python -m benchmarks.gpu.lrn --toy

At the outputs of conv1 and conv2. `norm` is ReLU and norm: five tensors must move, x and y, then x, dy and dx.
`norm, pool` has the pooling as well: x twice in and once out, a quarter of it twice, and a byte of each pooled value
twice. The share of the floor is those bytes at the memory's bandwidth over the time that was measured.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.timing import hardware, milliseconds
from benchmarks.record import record
from imagefeed.model.lrn import fused, fused_pool

PAPER = (5, 1e-4, 0.75, 2.0, "before", 1)
SHAPES = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}
TOYS = {"conv1": (8, 7, 7)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def torchs(x: Tensor) -> Tensor:
    """What people write."""
    return F.local_response_norm(F.relu(x), 5, alpha=5e-4, beta=0.75, k=2.0)


def contenders(toy: bool) -> dict[str, dict[str, Callable[[Tensor], Tensor]]]:
    """Work -> name -> function; the first is ours."""
    compiled = torch.compile(torchs, backend="eager" if toy else "inductor")
    pool = torch.compile(lambda x: F.max_pool2d(torchs(x), 3, 2), backend="eager" if toy else "inductor")
    return {
        "norm": {"ours": lambda x: fused(x, *PAPER), "torch": torchs, "torch, compiled": compiled},
        "norm, pool": {
            "ours": lambda x: fused_pool(x, *PAPER)[0],
            "ours, pooled by torch": lambda x: F.max_pool2d(fused(x, *PAPER), 3, 2),
            "torch": lambda x: F.max_pool2d(torchs(x), 3, 2),
            "torch, compiled": pool,
        },
    }


def both_ways(function: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor) -> None:
    """Forward and backward."""
    torch.autograd.grad(function(x), x, dy)


def floor_bytes(work: str, x: Tensor, y: Tensor) -> int:
    """What must cross the memory's bus, each tensor once in and once out."""
    if work == "norm":
        return 5 * x.numel() * x.element_size()
    return 3 * x.numel() * x.element_size() + 2 * y.numel() * (y.element_size() + 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table; records its rows unless it is a toy's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512, 1024, 4096])
    parser.add_argument("--gb-per-s", type=float, default=4800.0, help="of the GPU's memory")
    parser.add_argument("--toy", action="store_true", help="tiny tensors on a CPU, in Triton's interpreter")
    options = parser.parse_args(arguments)
    toy, gpu = options.toy, hardware(options.toy)
    dtypes = (torch.float32,) if toy else (torch.bfloat16, torch.float32)  # torch's own has no bfloat16 on a CPU
    sizes, device = ([2], "cpu") if toy else (options.batch_sizes, "cuda")
    print(f"{gpu}\n{'case':44} {'contender':22} {'p20':>8} {'median':>8} {'p80':>8} ms {'of floor':>8} {'times':>6}")
    for (layer, shape), size, dtype, (layout, memory_format) in product(
        (TOYS if toy else SHAPES).items(), sizes, dtypes, LAYOUTS.items()
    ):
        generator = torch.Generator(device).manual_seed(0)
        x = 100 * torch.randn((size, *shape), generator=generator, device=device)
        x = x.to(dtype=dtype, memory_format=memory_format).requires_grad_()
        for work, functions in contenders(toy).items():
            ours = 0.0
            for name, function in functions.items():
                y = function(x)
                torch.testing.assert_close(y, functions["torch"](x), rtol=2e-2, atol=1e-2)
                dy = torch.ones_like(y)
                p20, median, p80 = milliseconds(partial(both_ways, function, x, dy), toy=toy)
                ours = ours or median
                share = floor_bytes(work, x, y) / options.gb_per_s / 1e6 / median
                case = f"{work}, {layer} {size} {str(dtype).removeprefix('torch.')} {layout}"
                print(f"{case:44} {name:22} {p20:8.3f} {median:8.3f} {p80:8.3f}    {share:8.2f} {median / ours:6.1f}")
                if not toy:
                    figures = {"p20_ms": p20, "median_ms": median, "p80_ms": p80, "share_of_floor": share}
                    record("gpu-lrn", name, {"case": case, "gpu": gpu, **figures, "times_ours": median / ours})


if __name__ == "__main__":
    main()
