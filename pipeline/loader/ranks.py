"""Which of the processes that train together this one is, and whether it may read."""

import os

import torch.distributed as dist
from torch.utils.data import get_worker_info

from imagefeed.pipeline.sampling.order import RankSlice

CURE = "make the loader once the process group is there, or give it rank and world_size"


def found_ranks() -> tuple[int, int]:
    """This process's rank and how many there are: of the process group, else as torchrun tells them, else 0 and 1.

    Raises `ValueError` where torchrun's variables are not numbers.
    """
    if in_group():
        return dist.get_rank(), dist.get_world_size()
    told = told_ranks()
    if len(told) < 2:  # of one alone `check_process` complains, should it still be so when batches are wanted
        return 0, 1
    try:
        return int(told["RANK"]), int(told["WORLD_SIZE"])
    except ValueError:
        raise ValueError(f"the environment's ranks are not numbers: {told}: {CURE}") from None


def told_ranks() -> dict[str, str]:
    """What the environment says of ranks, by the names that torchrun has."""
    return {name: os.environ[name] for name in ("RANK", "WORLD_SIZE") if name in os.environ}


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
    made, told = (rank_slice.rank, rank_slice.world_size), told_ranks()
    if found and not in_group() and told and len(told) < 2 and told != {"WORLD_SIZE": "1"}:
        raise RuntimeError(f"the environment has {told} and does not say which rank of how many this is: {CURE}")
    if found and in_group() and made != (dist.get_rank(), dist.get_world_size()):
        raise RuntimeError(
            f"this loader was made as rank {made[0]} of {made[1]}, and the process is rank {dist.get_rank()} of "
            f"{dist.get_world_size()} now: {CURE}"
        )
