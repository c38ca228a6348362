"""What is asked of an evaluation: impossible options are refused, and the command says what decides."""

from pathlib import Path
from typing import Any

import pytest
import tyro

from imagefeed.jobs.evaluation.config import EvaluateConfig, command


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"num_actors": 0},
        {"threads": -1},
        {"protocols": ()},
        {"protocols": ("centre", "centre")},
        {"dense_sides": (300,)},  # and no dense crops
        {"dense_grid": 2},
        {"data": Path("somewhere")},
        {"checkpoint": (Path("somewhere"),)},
    ],
)
def test_impossible_options_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        EvaluateConfig(**options)


def test_the_command_leaves_out_what_changes_nothing() -> None:
    files: dict[str, Any] = {"checkpoint": (Path("/a.pt"),), "data": Path("/b"), "out": Path("/c")}
    begins = "python jobs/evaluate.py --checkpoint CHECKPOINT --data DATA --out OUT"
    assert command(EvaluateConfig(**files, num_actors=7), "cpu", 1) == f"{begins} --device cpu"
    config = EvaluateConfig(**files, split="test", protocols=("centre",), batch_size=8, other_data=True)
    assert command(config, "cuda", 1) == (
        f"{begins} --split test --protocols centre --batch-size 8 --device cuda --other-data"
    )
    args = ["--checkpoint", "A", "B", *command(config, "cuda", 2).split()[5:]]
    assert tyro.cli(EvaluateConfig, args=args).batch_size == 8
    assert "CHECKPOINT1 CHECKPOINT2" in command(config, "cuda", 2)
