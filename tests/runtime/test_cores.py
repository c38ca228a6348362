"""Cores are those of the mask within the quota of every cgroup above, and no rank of a machine goes without."""

import math
import os
from pathlib import Path

import pytest

from imagefeed.pipeline.runtime import cores


def hierarchy(root: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A mount of cgroups with `files`, and what /proc/self/cgroup says."""
    for name, text in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (root / "membership").write_text(membership)
    return root / "cgroup", root / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3.0),  # the one above counts
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "50000 25000", "cpu.max": "max 100000"}, 2.0),
        ("0::/docker/0123\n", {"cpu.max": "25000 50000"}, 0.5),  # the host's path, the container's mount
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("", {"cpu.max": "100000 100000"}, math.inf),  # of no process that is known
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "250000", "cpu/x/cpu.cfs_period_us": "100000"}, 2.5),
        ("1:cpu:/x\n0::/\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, math.inf),
        ("7:cpu,cpuacct:/y\n", {f"cpu,cpuacct/cpu.cfs_{n}_us": "50000" for n in ("quota", "period")}, 1.0),
        ("2:memory:/x\n", {"memory/x/cpu.max": "100000 100000"}, math.inf),
        ("0::/../..\n", {"cpu.max": "100000 100000"}, 1.0),
    ],
)  # fmt: skip
def test_the_quota_is_the_smallest_of_all_groups_above(
    membership: str, files: dict[str, str], expected: float, tmp_path: Path
) -> None:
    assert cores.quota(*hierarchy(tmp_path, membership, files)) == expected


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert cores.quota(tmp_path / "none", tmp_path / "neither") == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 8), (3.2, 4), (16.0, 8), (0.3, 1)])
def test_a_part_of_a_core_is_one_that_can_be_used(quota: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(cores, "quota", lambda: quota)
    assert cores.usable_cores() == expected


def test_a_process_held_to_one_core_uses_one() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(("num_cores", "num_ranks"), [(8, 1), (8, 3), (7, 4), (5, 5), (128, 8), (11, 8)])
def test_ranks_share_every_core_and_none_gets_two_more_than_another(num_cores: int, num_ranks: int) -> None:
    shares = [cores.share(num_cores, num_ranks, rank) for rank in range(num_ranks)]
    assert sum(shares) == num_cores and max(shares) - min(shares) <= 1 and shares == sorted(shares, reverse=True)


def test_where_cores_are_few_every_rank_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [cores.share(2, 5, rank) for rank in range(5)] == [1] * 5
    monkeypatch.setattr(cores, "usable_cores", lambda: 7)
    assert cores.cores_per_rank() == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cores.cores_per_rank() == 4
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert cores.cores_per_rank() == 3
