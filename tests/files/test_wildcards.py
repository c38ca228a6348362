"""Wildcards match what the standard library matches, and a folder that cannot be listed is an error."""

import glob
from pathlib import Path

import pytest

from imagefeed.pipeline.files.wildcards import matches
from tests.support.ordinary import ordinary


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*/*",
        "*/*.tar",
        "a/*.tar",
        "?/x[01].tar",
        "*/x0.tar",
        ".*/*",
        "*/.h*",
        "a*",
        "**/*.tar",
        "*/no/*",
        "[ab]/./*",
    ],
)
def test_it_is_the_standard_librarys_without_its_silence(pattern: str, tmp_path: Path) -> None:
    for name in ("a/x0.tar", "a/x1.tar", "b/x0.tar", "b/.hid.tar", ".h/x0.tar", "c", "abc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a/dead.tar").symlink_to("nowhere")
    expected = sorted(Path(file) for file in glob.glob(f"{tmp_path}/{pattern}"))
    if expected:
        assert sorted(matches(f"{tmp_path}/{pattern}")) == expected
    else:
        with pytest.raises(FileNotFoundError, match="no file matches"):
            matches(f"{tmp_path}/{pattern}")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.tar").write_text("")
    (tmp_path / "b").chmod(0o000)
    program = "import sys; from imagefeed.pipeline.files.wildcards import matches; print(matches(sys.argv[1]))"
    done = ordinary("-c", program, f"{tmp_path}/*/*.tar")
    (tmp_path / "b").chmod(0o755)
    assert done.returncode == 1 and f"Permission denied: '{tmp_path}/b'" in done.stderr
