"""Bytes that a rank sends in a step of the paper's net at full width: counted by the code, and seen by the kernel.

    unshare --map-root-user --net sh -c 'ip link set lo up && GLOO_SOCKET_IFNAME=lo torchrun --nproc_per_node=2 \\
        --master_addr=127.0.0.1 --master_port=29500 -m benchmarks.bench_exchange --batch-size 8'

In a network of its own, whose loopback carries nothing else: /proc/net/dev counts what goes over it, headers and
acknowledgements included. Each way in which ranks can share the work makes a few steps.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.record import record
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.optim import PaperSGD, parameter_groups
from imagefeed.model.parallel import Exchange, parallel
from imagefeed.model.split_classifier import split_classifier
from imagefeed.model.training import Placement

CPU = torch.device("cpu")
# What fc6, fc7 and fc8 do -> their gradients' compression, the type of activations, whether each rank holds a part.
WAYS = {
    "all-reduce, fp32": ("none", torch.float32, False),
    "all-reduce, bf16 gradients": ("bfloat16", torch.float32, False),
    "split, fp32": ("none", torch.float32, True),
    "split, bf16 activations": ("none", torch.bfloat16, True),
}


def sent_by_kernel() -> int:
    """Bytes that went over loopback so far; all ranks are there."""
    dist.barrier()
    (line,) = (line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split()[9])


def bytes_of(way: str, batch_size: int, steps: int) -> tuple[float, float]:
    """Bytes a step and rank, as counted and as seen."""
    compression, dtype, split = WAYS[way]
    place, network = Placement(device=CPU, dtype=dtype), AlexNet()
    exchange = Exchange(compression=compression)  # type: ignore[arg-type]
    apart = split_classifier(network, exchange) if split else set[str]()
    model = parallel(network, place, input_size=224, exchange=exchange, apart=apart).train()
    optimizer = PaperSGD(parameter_groups(network, weight_decay=0.0005, bias_rate=1.0, bias_decay=True), 1e-6)
    before = sent_by_kernel()
    for _ in range(steps):
        optimizer.zero_grad()
        with place.autocast():
            loss = model(torch.randn(batch_size, 3, 224, 224)).float().logsumexp(1).mean()
        loss.backward()
        optimizer.step()
    seen = sent_by_kernel() - before
    return exchange.num_bytes / steps, seen / steps / dist.get_world_size()


def main(arguments: Sequence[str] | None = None) -> None:
    """Rank 0 prints the table and records its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=8, help="images a rank")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo")
    ranks = dist.get_world_size()
    for way in WAYS:
        counted, seen = bytes_of(way, options.batch_size, options.steps)
        if dist.get_rank() == 0:
            print(f"{ranks} ranks x {options.batch_size} images, {way:28} {counted / 1e6:8.1f} {seen / 1e6:8.1f} MB")
            figures = {"ranks": ranks, "batch_size": options.batch_size, "counted": counted, "seen": seen}
            record("exchange", way, figures)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
