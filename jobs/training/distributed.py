"""One process of a training run: which of them it is, what it runs on, and how they agree."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist

from imagefeed.pipeline.runtime.cores import cores_per_rank
from imagefeed.pipeline.runtime.parent import end_with_parent

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class World:
    """Rank 0 of `size` ranks writes the run's files; local rank 0 of each machine prepares what lies on it."""

    rank: int
    size: int
    local_rank: int
    device: torch.device
    num_threads: int  # that this rank may use

    @property
    def is_main(self) -> bool:
        return self.rank == 0


@contextmanager
def process_group(device: Literal["auto", "cpu", "cuda"], num_threads: int | None) -> Iterator[World]:
    """Joins the processes that torchrun started, by NCCL on CUDA and by gloo on CPU; without torchrun, just this one.

    torchrun tells each rank to use one thread. Here the CPUs of a machine are shared out over its ranks, unless
    `num_threads` says how many each gets. Raises ValueError where there are fewer GPUs than ranks.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    place = _device(device, local_rank, local_size)
    num_threads = num_threads or cores_per_rank()
    torch.set_num_threads(num_threads)
    if "RANK" in os.environ:
        end_with_parent()  # torchrun, killed itself, can no longer end its ranks
        on_cuda = place.type == "cuda"
        # Messages in the CPU's memory, such as `Stop`'s, go by gloo in any case: they need not wait for a GPU.
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_cuda else "gloo", device_id=place if on_cuda else None)
    try:
        yield World(rank=rank, size=size, local_rank=local_rank, device=place, num_threads=num_threads)
    finally:
        if dist.is_initialized():
            # What still holds the group, as DDP's cycles do, would keep gloo's threads running into the process's end,
            # which then aborts.
            gc.collect()
            dist.destroy_process_group()


def _device(wanted: Literal["auto", "cpu", "cuda"], local_rank: int, local_size: int) -> torch.device:
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    num_gpus = torch.cuda.device_count()
    if num_gpus < local_size:
        raise ValueError(
            f"{local_size} ranks on this machine and {num_gpus} GPUs: start one rank for each GPU, or use --device cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    torch.backends.cudnn.deterministic = True  # a resumed run is to repeat what an undisturbed one does
    return device


class Stop:
    """Whether the run was asked to stop, by a SIGTERM to any rank: schedulers send one before they take a machine.

    While it is entered, the signal is noted and no more. What the ranks know of each other is a step old, so that the
    message costs no time: it travels while the step computes, and all ranks learn of it at the same step.
    """

    def __init__(self) -> None:
        self._asked = torch.zeros(1, dtype=torch.int32)
        self._message: tuple[Any, torch.Tensor] | None = None

    def __enter__(self) -> "Stop":
        self._before = signal.signal(signal.SIGTERM, lambda *_: self._asked.fill_(1))
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def agreed(self) -> bool:
        """The same on all ranks, each of which calls it once a step."""
        if not dist.is_initialized():
            return bool(self._asked)
        before, asked = self._message, self._asked.clone()
        self._message = dist.all_reduce(asked, dist.ReduceOp.MAX, async_op=True), asked
        if before is None:
            return False
        work, answer = before
        work.wait()
        return bool(answer)


def by_main(world: World, make: Callable[[], Result]) -> Result:
    """What `make` returns on rank 0, on every rank, while the others wait; what it raises is raised by rank 0.

    The others then end in silence, so that the user reads one error and not one a rank.
    """
    if world.size == 1:
        return make()
    outcome: list[Any] = [None, None]
    error: Exception | None = None
    if world.is_main:
        try:
            outcome = [make(), True]
        except Exception as raised:
            error, outcome = raised, [None, False]
    dist.broadcast_object_list(outcome, src=0)
    if error is not None:
        raise error
    if not outcome[1]:
        sys.exit(1)
    return outcome[0]


def wait_for_all() -> None:
    """Returns once every rank has come here."""
    if dist.is_initialized():
        dist.barrier()
