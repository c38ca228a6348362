"""A few hundred cases of the fuzzer, always the same ones; `python -m tests.fuzz` runs as many as wanted."""

from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.children import run
from tests.fuzz.inputs import all_targets
from tests.fuzz.targets import CHANGED, ERROR, SAME, SplitTarget

CASES = 340
NEVER_CHANGED = {"tar", "beton", "beton of raw pixels", "manifest", "table", "mean image"}

# Cases of long runs that broke the law once, by target: (seed, number).
FOUND = [
    ("tar of others", 20261126, 31866),  # a JPEG of tables alone has no size
    ("table, forged", 20261126, 43732),  # columns of several lengths
    ("table, forged", 20261126, 82216),
    ("table, forged", 20261126, 83638),
    ("mean image, forged", 20261126, 55147),  # NumPy's header is read as Python
]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # nothing runs in them
def test_spoilt_input_is_an_error_with_a_name_or_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    targets = all_targets(tmp_path / "inputs")
    results = list(run(targets, seed=1, first=0, count=CASES, timeout=30))
    assert [result.number for result in results] == list(range(CASES))
    bad = [result for result in results if result.outcome not in (SAME, ERROR, CHANGED)]
    assert not bad, bad[:3]
    # Where there are hashes nothing may change, not even what a decoder would pass over.
    assert not [result for result in results if result.outcome == CHANGED and result.target in NEVER_CHANGED]
    assert {result.outcome for result in results} == {SAME, ERROR, CHANGED}


def test_what_was_found_once_stays_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    targets = {target.name: target for target in all_targets(tmp_path / "inputs")}
    outcomes = {}
    for name, seed, number in FOUND:
        targets[name].warm_up()
        outcomes[name, number] = targets[name].run(np.random.default_rng((seed, number)))[1]
    assert set(outcomes.values()) <= {SAME, ERROR, CHANGED}, outcomes


def test_a_reader_that_does_not_look_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer itself can fail: without hashes, changed pixels pass, and it says so."""
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    (target,) = (each for each in all_targets(tmp_path / "inputs") if each.name == "tar, no hashes")
    assert isinstance(target, SplitTarget)
    target.guarded = True
    results = run([target], seed=1, first=0, count=60, timeout=30)
    assert "WRONG" in {result.outcome for result in results}
