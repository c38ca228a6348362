"""One conversion of `python -m tests.faults`, with a seed; what many have found is in docs/conversion.md."""

import random
from pathlib import Path

from tests.convert.test_convert import contents
from tests.faults.killing import Conversion


def test_a_conversion_that_is_killed_again_and_again_ends_with_the_same_bytes(
    images: Path, shards: Path, tmp_path: Path
) -> None:
    """Also its workers end when it is the driver alone that is killed."""
    chance = random.Random(1)
    (tmp_path / "scratch").mkdir()
    conversion = Conversion("processes", str(images), str(tmp_path / "out"), tmp_path / "scratch")
    assert conversion.attempt("driver", chance) in ("killed", "done")
    assert conversion.attempt("process", chance) in ("failed", "done")
    conversion.finish()
    assert contents(tmp_path / "out") == contents(shards)
