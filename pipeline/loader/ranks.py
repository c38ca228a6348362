"""Which of the processes that train together this one is, and whether it may read."""

import os

import torch.distributed as dist
from torch.utils.data import get_worker_info

from imagefeed.pipeline.sampling.order import RankSlice

CURE = "make the loader once the process group is there, or give it rank and world_size"


def found_ranks() -> tuple[int, int]:
    """This process's rank and how many there are: of the process group, else as torchrun tells them, else 0 and 1.

    Raises `ValueError` where the environment has several processes and does not say which of them this one is.
    """
    if in_group():
        return dist.get_rank(), dist.get_world_size()
    told = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE") if name in os.environ}
    try:
        rank, world_size = int(told.get("RANK", 0)), int(told.get("WORLD_SIZE", 1))
        if not 0 <= rank < world_size or (world_size > 1 and "RANK" not in told):
            raise ValueError
    except ValueError:
        raise ValueError(f"the environment does not say which rank this process is, with {told}: {CURE}") from None
    return rank, world_size


def in_group() -> bool:
    """Whether this process has joined a process group."""
    return dist.is_available() and dist.is_initialized()


def check_process(rank_slice: RankSlice, *, found: bool) -> None:
    """Raises `RuntimeError` where reading this slice here would give samples twice without a word.

    `found` says that it is what `found_ranks` gave, which a process group may have overtaken since. In a worker of a
    DataLoader, reading is refused rather than shared out: each epoch would be read by new copies of the loader, so that
    nobody would see the epoch and the position move, and the batches would depend on the number of workers.
    """
    if get_worker_info() is not None:
        raise RuntimeError(
            "a worker of a DataLoader iterates over a loader, where every worker would read every sample, and read "
            "epoch 0 each time: use num_workers=0, as the loader has threads of its own"
        )
    made = rank_slice.rank, rank_slice.world_size
    if found and in_group() and made != (dist.get_rank(), dist.get_world_size()):
        raise RuntimeError(
            f"this loader was made as rank {made[0]} of {made[1]}, and the process is rank {dist.get_rank()} of "
            f"{dist.get_world_size()} now: {CURE}"
        )
