"""The rate falls when the error stalls, or at given epochs; never otherwise, and never rises."""

import json
import math
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.model.schedule import Progress, Schedule, after_epoch, learning_rate


def rates(schedule: Schedule, errors: list[float]) -> list[float]:
    """The rate of each epoch, and of one more."""
    progress, result = Progress(), [learning_rate(schedule, Progress())]
    for epoch, error in enumerate(errors, 1):
        progress = after_epoch(schedule, progress, epoch=epoch, error=error)
        result.append(learning_rate(schedule, progress))
    return result


def test_a_plateau_by_hand() -> None:
    schedule = Schedule(kind="plateau", learning_rate=1.0, patience=2)
    errors = [0.9, 0.8, 0.8, 0.85, 0.7, 0.75, 0.69, 0.7, 0.7, 0.7, 0.7]
    # Epochs 3 and 4 bring no new lowest error (equal is not lower), nor do 8 and 9, nor 10 and 11.
    expected = [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    assert rates(schedule, errors) == pytest.approx(expected)


def test_steps_by_hand() -> None:
    schedule = Schedule(kind="steps", learning_rate=0.5, milestones=(2, 3))
    assert rates(schedule, [0.9, 0.8, 0.7, 0.7, 0.7]) == pytest.approx([0.5, 0.5, 0.05, 0.005, 0.005, 0.005])


ERRORS = st.lists(st.floats(0, 1), max_size=60)


@given(ERRORS, st.integers(1, 8))
def test_a_plateau_never_raises_the_rate_and_reduces_it_three_times_at_most(errors: list[float], patience: int) -> None:
    result = rates(Schedule(kind="plateau", learning_rate=0.01, patience=patience), errors)
    assert result == sorted(result, reverse=True)
    assert result[-1] >= 0.01 / 10**3 * 0.999
    falls = [epoch for epoch in range(1, len(result)) if result[epoch] < result[epoch - 1]]
    assert all(later - earlier >= patience for earlier, later in pairwise(falls))


def test_three_reductions_are_reached() -> None:
    assert rates(Schedule(kind="plateau", learning_rate=1.0, patience=1), [0.5] * 20)[-1] == pytest.approx(0.001)


@given(ERRORS)
def test_an_improving_error_keeps_the_rate(errors: list[float]) -> None:
    falling = sorted(set(errors), reverse=True)
    assert set(rates(Schedule(kind="plateau", learning_rate=0.01, patience=1), falling)) == {0.01}


@given(ERRORS)
def test_what_it_remembers_is_plain_and_whole(errors: list[float]) -> None:
    schedule = Schedule(kind="plateau", learning_rate=0.01, patience=2)
    progress = Progress()
    for epoch, error in enumerate(errors, 1):
        progress = after_epoch(schedule, Progress(**json.loads(json.dumps(asdict(progress)))), epoch=epoch, error=error)
    assert learning_rate(schedule, progress) == rates(schedule, errors)[-1]
    assert progress.lowest_error == min(errors, default=math.inf)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"divisor": 1.0},
        {"patience": 0},
        {"max_reductions": -1},
        {"milestones": (3, 2)},
        {"milestones": (0, 2)},
        {"milestones": (2, 2)},
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values()))).strip("()")):
        Schedule(**{"kind": "steps", "learning_rate": 0.1, **options})
