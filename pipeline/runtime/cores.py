"""How many threads to run: the cores of the affinity mask, within a container's quota, shared by a machine's ranks."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cores_per_rank() -> int:
    """The cores of this process, shared by the ranks of its machine as torchrun numbers them; at least 1.

    Where each rank was pinned to cores of its own, these are shared once more: say then how many threads to use.
    """
    num_ranks, rank = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    return share(usable_cores(), num_ranks, rank)


def share(cores: int, num_ranks: int, rank: int) -> int:
    """The cores of one rank: equal shares, what is left over to the first ranks, and 1 where there are too few."""
    return max(1, cores // num_ranks + (rank < cores % num_ranks))


def usable_cores() -> int:
    """The cores that this process may keep busy: those of its affinity mask, within the quota of its cgroups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota())))


def quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float:
    """The smallest CPU quota that a cgroup of this process or one above it sets, in cores; infinite without one.

    `cgroups` is where the hierarchies are mounted, `membership` names the groups of the process (`man 7 cgroups`).
    """
    return min((read(folder) for folder in groups(cgroups, membership)), default=math.inf)


def groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """The folders of the cgroups, of either version, that may hold a CPU quota for this process.

    A container often sees the paths of the host in `membership`, but its own group as the root of the mount: every
    folder from there upwards that exists counts.
    """
    lines = membership.read_text().splitlines() if membership.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            roots = [cgroups]
        elif "cpu" in controllers.split(","):
            roots = [cgroups / controllers, cgroups / "cpu"]
        else:
            continue
        inner = Path(path.lstrip("/"))
        yield from (root / each for root in roots for each in (inner, *inner.parents))


def read(folder: Path) -> float:
    """The CPU quota that one cgroup sets, in cores; infinite where it sets none, or does not exist."""
    try:
        if (folder / "cpu.max").is_file():  # version 2: "max 100000" or "<quota> <period>", microseconds
            amount, period = (folder / "cpu.max").read_text().split()
        else:
            amount, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        cores = int(amount) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such group; "max"
        return math.inf
    return cores if cores > 0 else math.inf  # version 1 says -1 for none
