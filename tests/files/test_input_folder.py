"""A listing has every file once, under one name in any locale, or it is an error that names the folder."""

import json
import os
import sys
from pathlib import Path

import pytest

from imagefeed.pipeline.files.input_folder import LocalInput, folders_of_ours, list_files
from tests.support.ordinary import ordinary
from tests.support.servers import file_server

LIST = (
    "import json, sys; from imagefeed.pipeline.files.input_folder import *\n"
    "origin, files = list_files(sys.argv[1])\n"
    "print(json.dumps([[row['name'], row['size'], origin.read(row['name']).decode()] for row in files.to_pylist()]))"
)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name.encode("utf-8", "replace").decode())


def listed(folder: Path) -> list[str]:
    return list_files(str(folder))[1]["name"].to_pylist()


def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(tmp_path: Path) -> None:
    touch(tmp_path / "ant/0.jpg", tmp_path / "bee/deep/0.jpg", tmp_path / "cow/0.jpg")
    for closed in ("bee", "bee/deep"):
        (tmp_path / closed).chmod(0o000)
        done = ordinary("-c", LIST, tmp_path)
        (tmp_path / closed).chmod(0o755)
        assert done.returncode == 1
        assert f"PermissionError: [Errno 13] {tmp_path / closed} cannot be listed: " in done.stderr


def test_links_are_followed_but_to_a_folder_above(tmp_path: Path) -> None:
    touch(tmp_path / "ant/0.jpg", tmp_path / "ant/deep/1.jpg")
    expected = listed(tmp_path)
    (tmp_path / "ant/up").symlink_to("..")
    (tmp_path / "ant/deep/self").symlink_to(tmp_path / "ant/deep")
    assert listed(tmp_path) == expected
    (tmp_path / "bee").symlink_to("ant")
    assert listed(tmp_path) == [*expected, "bee/0.jpg", "bee/deep/1.jpg"]


def test_what_is_no_file_has_no_size(tmp_path: Path) -> None:
    touch(tmp_path / "ant/0.jpg")
    (tmp_path / "ant/dead.jpg").symlink_to("nowhere")
    (tmp_path / "ant/itself.jpg").symlink_to("itself.jpg")
    os.mkfifo(tmp_path / "ant/pipe.jpg")
    _, files = list_files(str(tmp_path))
    assert {row["name"]: row["size"] for row in files.to_pylist()} == {
        "ant/0.jpg": 5,
        "ant/dead.jpg": -1,
        "ant/itself.jpg": -1,
        "ant/pipe.jpg": -1,
    }


def test_empty_folders_and_marks_are_told(tmp_path: Path) -> None:
    touch(tmp_path / "ant/0.jpg", tmp_path / "bee/.hidden", tmp_path / "cow/__pycache__/0.jpg")
    touch(tmp_path / "made/.lock", tmp_path / "made/train/.records/begun", tmp_path / "made/val/manifest.json")
    touch(tmp_path / "made/val/samples.parquet", tmp_path / "other/manifest.json")
    (tmp_path / "dog/deep").mkdir(parents=True)
    _, files = list_files(str(tmp_path))
    said = [name for name in files["name"].to_pylist() if name.endswith("/") or "/." in name]
    assert said == ["bee/", "dog/deep/", "made/.lock", "made/train/", "made/train/.records", "made/val/.finished"]
    assert folders_of_ours(files) == {"made/train/": ".records", "made/val/": ".finished"}
    assert list_files(f"{tmp_path}/*/*.jpg")[1]["name"].to_pylist() == ["ant/0.jpg"]


def test_a_server_is_listed_as_a_disk_is(tmp_path: Path) -> None:
    touch(tmp_path / "ant/0.jpg", tmp_path / "bee/.hidden", tmp_path / "node_modules/x/0.jpg", tmp_path / "dog/.lock")
    touch(tmp_path / "made/train/.records/begun", tmp_path / "env/pyvenv.cfg", tmp_path / "env/x/0.jpg")
    touch(*(tmp_path / "made/val" / name for name in ("manifest.json", "samples.parquet")))
    (tmp_path / "cow/deep").mkdir(parents=True)
    with file_server(tmp_path) as server:
        _, remote = list_files(server.url)
    assert listed(tmp_path) == remote["name"].to_pylist()


def test_a_pattern_takes_files_of_ours_only_by_name(tmp_path: Path) -> None:
    touch(tmp_path / "0.tar", tmp_path / "made/train/shard-00000.tar", tmp_path / "made/train/.records/begun")
    assert list_files(f"{tmp_path}/*.tar")[1]["name"].to_pylist() == ["0.tar"]
    assert list_files(f"{tmp_path}/made/train/*.tar")[1]["name"].to_pylist() == ["shard-00000.tar"]
    assert list_files(f"{tmp_path}/{{made,x}}/train/*.tar")[1]["name"].to_pylist() == ["made/train/shard-00000.tar"]
    with pytest.raises(FileNotFoundError, match="no file matches, but perhaps in .*made/train/.*: name it"):
        list_files(f"{tmp_path}/made*/*.tar")


NAMES: list[str | bytes] = [
    "plain.jpg",
    "日本/é.jpg",
    b"caf\xe9/\xff.jpg",
    b"back\\xslash.jpg",
    b"new\nline.jpg",
    "e\u0301.jpg",
]


@pytest.mark.parametrize("utf8", ["0", "1"])
def test_names_are_the_same_in_any_locale_and_lead_to_their_files(utf8: str, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        path = os.path.join(os.fsencode(tmp_path), name.encode() if isinstance(name, str) else name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_text(str(number))
    done = ordinary("-c", LIST, tmp_path, LC_ALL="C", PYTHONUTF8=utf8, PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    assert {name: content for name, _, content in json.loads(done.stdout)} == {
        "plain.jpg": "0",
        "日本/é.jpg": "1",
        "caf\\xe9/\\xff.jpg": "2",
        "back\\xslash.jpg": "3",
        "new\nline.jpg": "4",
        "e\u0301.jpg": "5",
    }


def test_two_names_that_are_one_are_refused(tmp_path: Path) -> None:
    for name in (b"caf\xe9.jpg", b"caf\\xe9.jpg"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_text("x")
    with pytest.raises(ValueError, match=f"{tmp_path}/?: two names in it are one"):
        listed(tmp_path)


def test_a_file_is_found_by_its_name(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    Path(os.fsdecode(path)).write_text("abc")
    assert LocalInput(str(tmp_path)).found("caf\\xe9.jpg").size == 3
    with pytest.raises(FileNotFoundError, match=r"caf\\xe8\.jpg: no such file"):
        LocalInput(str(tmp_path)).found("caf\\xe8.jpg")
    assert sys.getfilesystemencoding() == "utf-8"  # else this is another test
