"""The command line has every option of a training run once, in the group of its kind, with its own words."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from imagefeed.jobs.training.config import SAMPLE, TrainConfig, defaults, parse
from imagefeed.jobs.training.form import GROUPS, explanations, grouped


def test_every_option_is_in_one_group() -> None:
    names = [name for group in grouped(SAMPLE).values() for name in group]
    assert sorted(names) == sorted(field.name for field in fields(TrainConfig))
    assert list(grouped(SAMPLE)) == ["run", "data", "schedule", "net", "expert"]
    assert "lrn_alpha" in grouped(SAMPLE)["expert"] and "width" in grouped(SAMPLE)["net"]


def test_every_option_is_explained() -> None:
    said = explanations(TrainConfig)
    assert said.keys() == {field.name for field in fields(TrainConfig)}
    assert said["width"].startswith("Factor on the channels")  # of a class that this one is made of
    assert not [name for name, text in said.items() if "\n" in text or "  " in text]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_help_shows_the_groups_and_how_to_launch(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        parse(["--help"])
    lines = capsys.readouterr().out.splitlines()
    places = [
        next(place for place, line in enumerate(lines) if re.match(f"[╭─ ]+{group} options\\b", line))
        for group in GROUPS
    ]
    assert places == sorted(places)
    for place, (group, (about, _)) in zip(places, GROUPS.items(), strict=True):
        assert about in "".join(lines[place + 1 : place + 3]), group
    assert "    torchrun --standalone --nproc_per_node=8 jobs/train.py --out OUT --resume" in lines
    assert max(map(len, lines[places[0] :])) <= columns


def test_what_is_asked_for_comes_out() -> None:
    words = ["--data", "/d", "--out", "/o", "--lrn-k", "1.5", "--milestones", "2", "3", "--schedule", "steps"]
    changes: dict[str, Any] = {
        "data": Path("/d"),
        "out": Path("/o"),
        "lrn_k": 1.5,
        "milestones": (2, 3),
        "schedule": "steps",
    }
    more: dict[str, Any] = {"classifier_parallel": True, "bias_decay": False}
    assert parse([*words, "--classifier-parallel", "--no-bias-decay"]) == defaults("paper", **changes, **more)
