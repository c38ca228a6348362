"""One conversion of `python -m tests.faults`, with a seed; what many have found is in docs/conversion.md."""

import random
from pathlib import Path

from tests.convert.test_convert import contents
from tests.faults.killing import attempt, converted


def test_a_conversion_that_is_killed_again_and_again_ends_with_the_same_bytes(
    images: Path, shards: Path, tmp_path: Path
) -> None:
    """Also its workers end when it is the driver alone that is killed."""
    chance = random.Random(1)
    assert attempt("processes", images, tmp_path, "driver", chance) in ("killed", "done")
    assert attempt("processes", images, tmp_path, "process", chance) in ("failed", "done")
    assert not list(converted("processes", images, tmp_path, 0, chance))
    assert contents(tmp_path) == contents(shards)
