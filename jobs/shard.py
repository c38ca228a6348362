"""Convert images to training shards on a Ray cluster; the work itself is `pipeline.convert`.

    ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
        python jobs/shard.py --source /data/ilsvrc2012 --out /data/imagenet-256 --format tar

    python jobs/shard.py --source /data/ilsvrc2012 --out /data/imagenet-256     # starts a Ray of its own
    python jobs/shard.py --ray-address HOST:6379 --source ...                   # on one that runs
    python jobs/shard.py                                                         # the sample dataset

One task makes one shard and sees the source and the output folder under the same path as the driver does, so on
many machines each lies on a shared file system or in an object store. A task whose worker or machine dies is run again;
a job that died is run again by the same command and goes on where it stopped.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

if not __package__:  # a script finds its own checkout: that of the submitted job, or the one it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from imagefeed.jobs.cluster.connect import RayAddress, connected
from imagefeed.jobs.cluster.work import on_ray
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.sample_data import sample_source
from imagefeed.pipeline.convert.summary import report
from imagefeed.pipeline.files.object_store import is_url
from imagefeed.pipeline.files.paths import absolute, home
from imagefeed.pipeline.runtime.command import CLI, run_command


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """Convert images to training shards on a Ray cluster."""

    source: str | None = None
    """Whatever `imagefeed convert` takes, here or at a URL; by default the sample dataset, drawn if missing."""
    out: str | None = None
    """Folder for the splits, OUT/train and OUT/val, or a URL in an object store; by default $IMAGEFEED_HOME/shards."""
    ray_address: RayAddress = None
    options: Annotated[ConvertOptions, tyro.conf.arg(name="")] = ConvertOptions()


def absolute_place(given: str) -> str:
    """A path made absolute; a URL is one."""
    return given if is_url(given) else str(absolute(Path(given)))


def main(config: ShardConfig) -> None:
    """Runs the conversion on the cluster that the job belongs to, or on a Ray of its own."""
    source = absolute_place(config.source) if config.source else str(sample_source())
    out = absolute_place(config.out) if config.out else str(home() / "shards")
    with connected(config.ray_address):
        report(convert(source, out, config.options, on_ray))


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(ShardConfig, config=CLI)))
