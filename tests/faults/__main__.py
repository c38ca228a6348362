"""The command; see the package's docstring."""

import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.synthetic.ilsvrc2012 import SampleConfig, make_sample
from tests.convert.test_convert import contents
from tests.faults.killing import Runner, converted

SAMPLE = SampleConfig(num_classes=8, train_images_per_class=12, val_images_per_class=4)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Kill conversions at random."""

    rounds: int = 10
    """Conversions, each killed several times."""
    kills: int = 3
    """Kills of a conversion, at most: one may end before."""
    seed: int = 0
    """Of the victims and the moments."""
    runner: Runner = "processes"
    """Where the shards are made."""


def main(options: Faults) -> None:
    """Raises `AssertionError` at the first conversion that ends with other bytes, hangs or leaves a process."""
    counts: Counter[tuple[str, str]] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imagefeed-faults-") as folder:
        source = Path(folder, "source")
        make_sample(source, SAMPLE)
        convert(source, Path(folder, "undisturbed"), ConvertOptions(format="both", shard_size=7))
        expected = contents(Path(folder, "undisturbed"))
        for number in range(options.rounds):
            chance = random.Random(f"{options.seed} {options.runner} {number}")
            with tempfile.TemporaryDirectory(dir=folder) as out:
                ends = list(converted(options.runner, source, Path(out), options.kills, chance))
                assert contents(Path(out)) == expected, f"round {number} ended with other bytes after {ends}"
            counts.update(ends)
            print(f"round {number + 1}: {ends}", flush=True)
    print(f"{options.rounds} conversions with {counts.total()} kills ended with the same bytes", end=" ")
    print(f"({time.monotonic() - began:.0f} s):")
    for (victim, end), count in sorted(counts.items()):
        print(f"  {victim:8} {end:8} {count}")


if __name__ == "__main__":
    main(tyro.cli(Faults))
