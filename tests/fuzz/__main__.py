"""Runs cases, says what became of them, and fails where one of them broke the law.

nice -n 15 python -m tests.fuzz --cases 100000 --seed 0 --out findings.jsonl
"""

import collections
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from tests.fuzz.children import Result, run
from tests.fuzz.inputs import all_targets
from tests.fuzz.targets import CHANGED, ERROR, SAME


@dataclass(frozen=True, kw_only=True)
class FuzzConfig:
    """Which cases."""

    cases: int = 1000
    seed: int = 0
    first: int = 0
    """Number of the first case."""
    timeout: float = 20.0
    """Seconds after which a case hangs."""
    only: str = ""
    """Targets whose name has this text in it. Other numbers mean other cases then."""
    out: Path | None = None
    """Where the cases go that broke the law, one line of JSON each."""
    work: Path | None = None
    """A folder on a fast disk (/dev/shm) for the files that are spoilt; None: the system's temporary folder."""


def main(config: FuzzConfig) -> int:
    """Runs the cases; returns how many broke the law."""
    torch.set_num_threads(1)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    broken = 0
    start = last = time.monotonic()
    with tempfile.TemporaryDirectory(dir=config.work) as folder:
        targets = [target for target in all_targets(Path(folder)) if config.only in target.name]
        for result in run(targets, config.seed, config.first, config.cases, timeout=config.timeout):
            counts[result.target, result.outcome] += 1
            if result.outcome not in (SAME, ERROR, CHANGED):
                broken += 1
                keep(result, config)
            if time.monotonic() - last > 30:
                last = time.monotonic()
                done = counts.total()
                print(f"{done:,} cases, {done / (last - start):.1f} a second, {broken} broken", flush=True)
    print(table(counts))
    print(f"{counts.total():,} cases in {time.monotonic() - start:.0f} s, {broken} broke the law")
    return broken


def keep(result: Result, config: FuzzConfig) -> None:
    """Says which case broke the law, and how to run it again."""
    print(
        f"{result.outcome}: {result.target}: {result.mutation}: {result.message.splitlines()[-1:]} "
        f"(--seed {config.seed} --first {result.number} --cases 1)",
        flush=True,
    )
    if config.out:
        with open(config.out, "a") as file:
            file.write(json.dumps(result._asdict()) + "\n")


def table(counts: collections.Counter[tuple[str, str]]) -> str:
    """Cases by target and outcome, in Markdown."""
    outcomes = sorted({outcome for _, outcome in counts})
    lines = [f"| target | cases | {' | '.join(outcomes)} |", "|---|" + "---|" * (1 + len(outcomes))]
    for target in dict.fromkeys(target for target, _ in counts):
        row = [counts[target, outcome] for outcome in outcomes]
        lines.append(f"| {target} | {sum(row):,} | {' | '.join(f'{count:,}' for count in row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(bool(main(tyro.cli(FuzzConfig))))
