"""Ray as the jobs use it, a real one: out of reach for others; work shared out ends or fails and never waits."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from imagefeed.jobs.cluster.connect import connected
from imagefeed.jobs.cluster.local import free_ports
from imagefeed.jobs.cluster.processes import descendants
from imagefeed.jobs.cluster.work import Lost, on_actors
from imagefeed.pipeline.files.paths import absolute
from tests.support.cluster import LOOPBACK
from tests.support.processes import listening

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def resources() -> Iterator[Mapping[str, float]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with connected() as found:
            yield found


def test_an_embedded_ray_listens_on_loopback_only_and_wants_a_token(resources: Mapping[str, float]) -> None:
    addresses = set(listening(descendants(os.getpid())))
    assert addresses
    assert addresses <= LOOPBACK
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_its_files_are_gone_with_it_closed_to_others_and_not_in_a_long_tmpdir(tmp_path: Path) -> None:
    """Schedulers give long ones; Ray's sockets may have no more than 107 characters in their names."""
    long = tmp_path / "slurm_jobdir" / ("1355700" * 8)
    long.mkdir(parents=True)
    program = (
        "from pathlib import Path; from imagefeed.jobs.cluster.connect import connected\n"
        "if __name__ == '__main__':\n"
        "    with connected():\n"
        "        import ray\n"
        "        root = Path(ray._private.worker._global_node.get_session_dir_path()).parent\n"
        "        print(root, oct(root.parent.stat().st_mode & 0o777), root.exists())\n"
        "    print(root.parent.exists())\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"TMPDIR": str(long)},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
    )
    first, last = done.stdout.splitlines()
    assert first.endswith("0o700 True") and last == "False", done.stderr


def test_an_address_where_nobody_listens_is_an_error_at_once() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ConnectionError, match=f"no Ray answers at 127.0.0.1:{port} .*start one"):
        with connected(f"127.0.0.1:{port}"):
            pass
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ConnectionError, match="or unset RAY_ADDRESS"):
        patch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")  # as a cluster that has ended leaves it in a shell
        with connected():
            pass


def hire(num_cpus: int = 1) -> Any:
    """An actor with a few methods, good and bad."""
    import ray

    class Worker:
        def square(self, item: int) -> int:
            return item * item

        def refuse(self, item: int) -> int:
            raise ValueError(f"shard-{item}.tar is damaged")

        def die(self, item: int) -> int:
            os._exit(1)

        def die_once(self, mark: str) -> str:
            """Ends its process, unless one has done so before for this mark."""
            try:
                Path(mark).touch(exist_ok=False)
            except FileExistsError:
                return mark
            os._exit(1)

    return ray.remote(num_cpus=num_cpus)(Worker).remote()


def test_every_item_is_done_once(resources: Mapping[str, float]) -> None:
    assert sorted(on_actors(hire, 2, "square", range(10))) == [i * i for i in range(10)]


def test_an_actor_that_never_finds_room_holds_nothing_up(resources: Mapping[str, float]) -> None:
    num_cpus = iter([10_000, 1])
    assert sorted(on_actors(lambda: hire(next(num_cpus)), 2, "square", range(3))) == [0, 1, 4]


def test_an_actors_error_is_raised_as_itself(resources: Mapping[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^shard-7\.tar is damaged$"):
        list(on_actors(hire, 1, "refuse", [7]))


def test_a_lost_actors_item_is_done_again(resources: Mapping[str, float], tmp_path: Path) -> None:
    marks = [str(tmp_path / f"{i}") for i in range(3)]
    assert sorted(on_actors(hire, 1, "die_once", marks)) == marks


def test_an_item_that_is_always_lost_is_an_error(resources: Mapping[str, float]) -> None:
    with pytest.raises(Lost, match="a worker died"):
        list(on_actors(hire, 1, "die", [0]))


def test_a_relative_path_in_a_submitted_job_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute(Path("out")) == tmp_path / "out"
    copy = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert absolute(tmp_path) == tmp_path
    with pytest.raises(ValueError, match="give an absolute path"):
        absolute(Path("out"))
