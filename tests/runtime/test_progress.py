"""Progress passes on what it is given, one by one, and counts it rightly."""

import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from imagefeed.pipeline.runtime import progress
from imagefeed.pipeline.runtime.progress import track

ITEMS = ["a", "bcd", "", "ef"]


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
def test_the_items_come_through_each_when_it_is_asked_for(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    asked: list[str] = []

    def items() -> Iterator[str]:
        for item in ITEMS:
            asked.append(item)
            yield item

    passed = track(items(), 6, "reading", "letters", len)
    assert not asked
    for number, item in enumerate(passed, 1):
        assert item is asked[-1] and len(asked) == number
    assert asked == ITEMS
    assert ("6/6" if terminal else "reading: 6 of 6 letters") in capsys.readouterr().err


def test_the_sizes_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY", 0.0)
    assert list(track(ITEMS, 6, "reading", "letters", len)) == ITEMS
    counted = [line.partition(" of 6 letters, ")[0] for line in capsys.readouterr().err.splitlines()]
    assert counted == ["reading: 1", "reading: 4", "reading: 4", "reading: 6"]


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
def test_the_rate_is_that_of_what_this_run_has_made(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a million letters that were there already it has read none."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(progress, "LOG_EVERY", 0.0)
    seconds = iter(range(100))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    items = ["x" * 1_000_000, "abc", "def"]
    assert list(track(items, 1_000_006, "reading", "letters", len, lambda item: len(item) == 3)) == items
    said = capsys.readouterr().err
    assert re.findall(r"([0-9,]+) letters/s", said)[-1] == "2", said  # six in three seconds
    assert terminal or re.findall(r"([0-9,]+) letters/s", said) == ["0", "2", "2"]


def test_numbers_are_their_own_size_and_a_log_has_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter([2, 3, 1]), 6, "reading", "letters")) == [2, 3, 1]
    (line,) = capsys.readouterr().err.splitlines()  # all of it took less than `LOG_EVERY`
    assert line.startswith("reading: 6 of 6 letters, ")
