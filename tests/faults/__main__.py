"""The command; see the package's docstring."""

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path
from typing import get_args

import tyro

from imagefeed.pipeline.synthetic.ilsvrc2012 import SampleConfig, make_sample
from tests.faults.killing import VICTIMS, Conversion, Runner
from tests.faults.random_errors import Works
from tests.faults.system_calls import build_library, started
from tests.support.servers import s3_bucket

SAMPLE = SampleConfig(num_classes=8, train_images_per_class=12, val_images_per_class=4)
KILLS = 3  # of a conversion, at most: one may end before
WRONG = "WRONG"
Counts = Counter[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Kill conversions and fail system calls at random, and count how it ends."""

    kills: int = 12
    """Kills, of processes and on Ray, of conversions from and to folders and an object store in turn."""
    errors: int = 20
    """System calls that fail."""
    seed: int = 0
    """Of the victims, the moments and the calls; and with which of the four kinds of conversion it begins."""


def main(options: Faults) -> None:
    """Prints at once what is wrong, and the counts at the end; status 1 where anything is."""
    began, counts = time.monotonic(), Counts()
    with tempfile.TemporaryDirectory(prefix="imagefeed-faults-") as folder:
        if options.errors:
            make_errors(options, Path(folder), counts)
        if options.kills:
            make_kills(options, Path(folder), counts)
    for row, count in sorted(counts.items()):
        print(*(f"{word:10}" for word in row), count)
    print(f"{options}: {time.monotonic() - began:.0f} s")
    sys.exit(any(WRONG in row for row in counts))


def judged(end: Callable[[], str], what: object) -> str:
    """What `end` returns, or `WRONG` where it fails an assertion, which is printed."""
    try:
        return end()
    except AssertionError as error:
        print(f"{WRONG}: {what}: {error}", flush=True)
        return WRONG


def make_errors(options: Faults, folder: Path, counts: Counts) -> None:
    """Makes system calls fail; counts call, error and end."""
    given, chance = folder / "given", random.Random(options.seed)
    given.mkdir()
    with started(build_library(folder), given) as ask:
        works = Works(ask, folder)
        for _ in range(options.errors):
            fault = works.draw(chance)
            counts["error", fault.call, fault.error, judged(partial(works.end, fault), fault)] += 1


def make_kills(options: Faults, folder: Path, counts: Counts) -> None:
    """Kills conversions, each of them up to `KILLS` times before it is left to end; counts runner, place, victim and
    end. A conversion that ends with other bytes counts as well."""
    source, left = folder / "source", options.kills
    make_sample(source, SAMPLE)
    with s3_bucket("bucket", source):
        places = {"folder": (str(source), str(folder)), "store": ("s3://bucket", "s3://bucket")}
        expected = {}
        for place, (given, below) in places.items():
            undisturbed = Conversion("processes", given, f"{below}/undisturbed", folder)
            undisturbed.finish()
            expected[place] = undisturbed.contents()
        setups = cycle(product(places, get_args(Runner)))
        for number, (place, runner) in enumerate(islice(setups, options.seed % 4, None)):
            if left == 0:
                break
            given, below = places[place]
            conversion = Conversion(runner, given, f"{below}/out-{number}", folder)
            chance = random.Random(f"{options.seed} {number}")
            for _ in range(min(KILLS, left)):
                victim = chance.choice(VICTIMS[runner])
                end = judged(partial(conversion.attempt, victim, chance), (number, runner, place, victim))
                counts["kill", runner, place, victim, end] += 1
                print(number, runner, place, victim, end, flush=True)
                left -= 1
                if end == "done":
                    break
            else:
                conversion.finish()
            if conversion.contents() != expected[place]:
                counts["conversion", runner, place, WRONG] += 1
                print(f"{WRONG}: conversion {number} ended with other bytes", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Faults))
