"""Convert images to training shards on a Ray cluster; the work itself is `pipeline.convert`.

    ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\
        python jobs/shard.py --source /data/ilsvrc2012 --out /data/imagenet-256 --format tar

    python jobs/shard.py --source /data/ilsvrc2012 --out /data/imagenet-256     # starts a Ray of its own
    python jobs/shard.py --ray-address HOST:6379 --source ...                   # on one that runs
    python jobs/shard.py                                                         # the sample dataset

One task makes one shard and sees the source and the output folder under the same path as the driver does, so on
many machines each lies on a shared file system or in an object store. A task whose worker or machine dies is run again;
a job that died is run again by the same command and goes on where it stopped.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

# A submitted job runs in a copy of the checkout: that copy is what must be imported, here and in the workers.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from jobs.cluster import RayAddress, absolute, connected, outcome
from pipeline.cli import CLI, run_command
from pipeline.cli_make import report
from pipeline.conversion import convert
from pipeline.home import home, sample_source
from pipeline.options import ConvertOptions
from pipeline.shards import ShardResult, ShardTask
from pipeline.storage import is_url

TASKS_IN_FLIGHT_PER_CPU = 2
MAX_RETRIES = 3  # of a task whose worker dies, or that meets an OSError


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """Convert images to training shards on a Ray cluster."""

    source: str | None = None
    """Whatever `imagefeed convert` takes, here or at a URL; by default the sample dataset, drawn if missing."""
    out: str | None = None
    """Folder for the splits, OUT/train and OUT/val, or a URL in an object store; by default $IMAGEFEED_HOME/shards."""
    ray_address: RayAddress = None
    options: Annotated[ConvertOptions, tyro.conf.arg(name="")] = ConvertOptions()


def on_ray(make: Callable[[ShardTask], ShardResult], tasks: Iterable[ShardTask]) -> Iterator[ShardResult]:
    """Runs each task as a Ray task of one CPU, a bounded number in flight; results in the order they finish."""
    import ray  # only once `connected` has set what Ray reads at its import

    remote = ray.remote(make).options(num_cpus=1, max_retries=MAX_RETRIES, retry_exceptions=[OSError])
    waiting = iter(tasks)
    in_flight = int(ray.cluster_resources()["CPU"]) * TASKS_IN_FLIGHT_PER_CPU
    running = [remote.remote(task) for task in islice(waiting, in_flight)]
    while running:
        (finished,), running = ray.wait(running, num_returns=1)
        yield outcome(finished)
        running.extend(remote.remote(task) for task in islice(waiting, 1))


def place(given: str) -> str:
    """A path made absolute; a URL is one."""
    return given if is_url(given) else str(absolute(Path(given)))


def main(config: ShardConfig) -> None:
    """Runs the conversion on the cluster that the job belongs to, or on a Ray of its own."""
    source = place(config.source) if config.source else str(sample_source())
    out = place(config.out) if config.out else str(home() / "shards")
    with connected(config.ray_address):
        report(convert(source, out, config.options, on_ray))


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(ShardConfig, config=CLI)))
