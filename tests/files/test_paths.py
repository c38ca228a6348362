"""Where things lie when no place is named, and what is said where there is none."""

import os
from pathlib import Path

import numpy as np
import pytest

from imagefeed.pipeline.dataset.index import index_of
from imagefeed.pipeline.files.paths import home, in_home
from imagefeed.pipeline.formats.tar import TarWriter
from imagefeed.pipeline.image.stored import JPEG
from tests.conftest import encoded, picture

CURE = "set IMAGEFEED_HOME to a folder with room that can be written to"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", "~a-user-who-is-not-there/cache")
    with pytest.raises(RuntimeError, match=CURE):
        home()


def test_a_home_that_is_no_folder_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("IMAGEFEED_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match=f"{tmp_path}/file/.cache/imagefeed cannot be written: .*{CURE}"):
        in_home("run")
    tar = tmp_path / "part.tar"
    with TarWriter(tar) as writer:
        writer.add("0", 0, encoded(picture(0, 32, 32)), JPEG, 32, 32)
    with pytest.raises(OSError, match=f"indexes cannot be written: .*{CURE}"):
        index_of([tar])
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "cache"))
    assert np.all([path.is_relative_to(tmp_path / "cache") for path in (in_home("run"), index_of([tar]))])
    assert os.listdir(tmp_path / "cache") == ["indexes"]
