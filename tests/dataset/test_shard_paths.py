"""What a path to shards stands for: all of them, each once, in one order, or an error."""

from pathlib import Path

import pytest

from imagefeed.pipeline.dataset.shard_paths import shards_of
from imagefeed.pipeline.files.wildcards import braces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("a{08..11}b", ["a08b", "a09b", "a10b", "a11b"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{0..0}", ["0"]),
        ("{000..2}", ["000", "001", "002"]),
        ("x{a,b}{1,2}", ["xa1", "xa2", "xb1", "xb2"]),
        ("{a,b{1..2}}", ["a", "b1", "a", "b2"]),  # the innermost first; the set of files is the same
        ("{,x}y", ["y", "xy"]),
    ],
)
def test_braces(text: str, expected: list[str]) -> None:
    assert list(braces(text)) == expected


@pytest.mark.parametrize("text", ["{1..2", "{a}", "{}", "{3..1}", "{0..99999999999}", "{a..c}"])
def test_braces_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="brace|count"):
        list(braces(text))


def names(path: str | Path) -> list[str]:
    return [file.name for file in shards_of(path)]


def test_however_they_are_named_the_files_and_their_order_are_the_same(tmp_path: Path) -> None:
    expected = [f"s-{number:02}.tar" for number in range(12)]
    for name in expected[::-1]:
        (tmp_path / name).touch()
    (tmp_path / ".tmp-1-s-12.tar").touch()
    (tmp_path / "readme.md").touch()
    for path in (tmp_path, f"{tmp_path}/*.tar", f"{tmp_path}/s-{{00..11}}.tar", f"{tmp_path}/s-{{1*,0*}}.tar"):
        assert names(path) == expected
        assert all(file.is_absolute() for file in shards_of(path))
    assert names(tmp_path / "s-03.tar") == ["s-03.tar"]
    assert names(f"{tmp_path}/s-{{03,03}}.tar") == ["s-03.tar"]


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar").touch()
    monkeypatch.chdir(tmp_path)
    assert shards_of("a.tar") == shards_of("*.tar") == shards_of(".") == [tmp_path / "a.tar"]


def test_a_file_whose_name_has_wildcards_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a[1]{2}.tar").touch()
    assert names(tmp_path / "a[1]{2}.tar") == ["a[1]{2}.tar"]


def test_none(tmp_path: Path) -> None:
    assert shards_of(tmp_path) == shards_of(tmp_path / "nowhere.tar") == []
    (tmp_path / "a.tar").touch()
    (tmp_path / ".records").mkdir()  # of a conversion that has not finished
    assert shards_of(tmp_path) == []


def test_one_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "s-0.tar").touch()
    with pytest.raises(FileNotFoundError, match=r"s-1\.tar: no such file"):
        shards_of(f"{tmp_path}/s-{{0..1}}.tar")
    with pytest.raises(FileNotFoundError, match=r"t\*\.tar: no file matches"):
        shards_of(f"{tmp_path}/{{s,t}}*.tar")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar.gz", "c.zip"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"b\.tar\.gz is compressed"):
        shards_of(tmp_path)
    with pytest.raises(ValueError, match=r"c\.zip is neither"):
        shards_of(tmp_path / "c.zip")
    (tmp_path / "b.tar.gz").rename(tmp_path / "b.beton")
    with pytest.raises(ValueError, match="has tars and betons"):
        shards_of(tmp_path)
