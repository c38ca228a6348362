"""A network on many ranks: gradients are averaged while the backward pass still runs, in 16 bits where that pays.

58.6 of the paper's 61.0 million parameters are in the fully connected layers, and so are 235 of the 244 MB of gradients
that a step averages; their compression to 16 bits leaves 127 MB. Each of K ranks sends 2 (K - 1) / K times that: what
it adds to the others' parts of the sum, then its own part, finished. `model/split_classifier.py` sends activations.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from imagefeed.model.training import Placement

Compression = Literal["none", "float16", "bfloat16"]
_HOOKS: dict[Compression, Any] = {
    "none": default_hooks.allreduce_hook,
    "float16": default_hooks.fp16_compress_hook,
    "bfloat16": default_hooks.bf16_compress_hook,
}


@dataclass(kw_only=True)
class Exchange:
    """How the ranks exchange what they have, and what it costs."""

    compression: Compression = "none"
    num_bytes: int = 0  # that this rank has sent since the caller set it to 0: by count, of an exchange in rings


def average(exchange: Exchange, bucket: dist.GradBucket) -> Future[Tensor]:  # type: ignore[name-defined]
    """DDP's hook: averages a bucket of gradients over all ranks.

    A bucket whose largest gradient is a matrix belongs to a fully connected layer and is rounded to `compression`; the
    convolutions' go in float32. DDP fills its buckets from the last layer on, and a matrix of fc6 or fc7 closes one.
    """
    largest = max(bucket.parameters(), key=Tensor.numel)
    compression: Compression = exchange.compression if largest.ndim == 2 else "none"
    size, buffer = dist.get_world_size(), bucket.buffer()
    exchange.num_bytes += (
        2 * (size - 1) * buffer.numel() * (buffer.element_size() if compression == "none" else 2) // size
    )
    return _HOOKS[compression](None, bucket)


def parallel(
    network: nn.Module, placement: Placement, *, input_size: int, exchange: Exchange, apart: Collection[str] = ()
) -> nn.Module:
    """`network`, in its place, for training on the ranks of the process group: gradients become the means over ranks.

    `apart` names the parameters and buffers that are each rank's own and are left alone.

    DDP lays out its buckets anew after the first backward pass, and with more than two ranks the layout decides the
    order of additions. So the first pass is made here, with one black image: all steps of a run are then alike, and
    those of a resumed run too. It is made as in use, and so leaves batch norm's statistics alone.
    """
    device = placement.device
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, apart)
    ranked = DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True
    )
    ranked.register_comm_hook(exchange, average)
    ranked.eval()
    with placement.autocast():
        loss = ranked(next(network.parameters()).new_zeros(1, 3, input_size, input_size)).float().sum()
    loss.backward()
    ranked.zero_grad(set_to_none=True)
    exchange.num_bytes = 0
    return ranked


def agree_on_buffers(network: nn.Module, *, apart: Collection[str] = ()) -> None:
    """Gives all ranks rank 0's buffers, but for those in `apart`: batch norm's, which differ as the images do."""
    for name, buffer in network.named_buffers():
        if name not in apart:
            dist.broadcast(buffer, src=0)
