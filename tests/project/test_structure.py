"""The readers of the structure, against graphs and folders made by hand."""

from itertools import permutations
from pathlib import Path

import pytest

from tests.project.structure import (
    circles,
    file_graph,
    files_of,
    floors,
    largest_room,
    module_of,
    room_graph,
    side_by_side,
    table,
    untested,
)

CHAIN: dict[str, set[str]] = {"a": {"b"}, "b": {"c"}, "c": set()}
DIAMOND: dict[str, set[str]] = {"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}
# Two circles, one upon the other, and one file above, between and below them.
CIRCLES: dict[str, set[str]] = {
    "top": {"a"},
    "a": {"b"},
    "b": {"a", "mid"},
    "mid": {"x"},
    "x": {"y"},
    "y": {"z"},
    "z": {"x", "low"},
    "low": set(),
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_circles_are_the_groups_that_import_each_other() -> None:
    assert circles(CHAIN) == circles(DIAMOND) == circles({}) == []
    assert sorted(circles(CIRCLES)) == [["a", "b"], ["x", "y", "z"]]
    assert circles({"a": {"a"}}) == []  # itself is no other


def test_the_floor_is_one_above_the_highest_that_is_needed() -> None:
    assert floors(CHAIN) == {"c": 1, "b": 2, "a": 3}
    assert floors(DIAMOND) == {"d": 1, "b": 2, "c": 2, "a": 3}
    assert floors({**DIAMOND, "e": {"d", "a"}})["e"] == 4
    assert floors(CIRCLES) == {"low": 1, "x": 2, "y": 2, "z": 2, "mid": 3, "a": 4, "b": 4, "top": 5}


def test_neither_depends_on_the_order_of_the_graph() -> None:
    for order in permutations(DIAMOND):
        assert floors({node: DIAMOND[node] for node in order}) == floors(DIAMOND)
    backwards = dict(reversed(CIRCLES.items()))
    assert floors(backwards) == floors(CIRCLES) and sorted(circles(backwards)) == sorted(circles(CIRCLES))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("imagefeed.pipeline.jit.views.array_at", "pipeline.jit.views"),
        ("pipeline.jit.views", "pipeline.jit.views"),  # as it was said once
        ("imagefeed.random.draw", "imagefeed.random"),
        ("imagefeed.open_dataset", "imagefeed"),
        ("imagefeed", "imagefeed"),
        ("random", None),
        ("numpy.random", None),
        ("jit.views", None),
    ],
)
def test_an_imported_name_is_a_module_or_within_one(name: str, module: str | None) -> None:
    files = dict.fromkeys(("imagefeed", "imagefeed.random", "pipeline.jit.views"), Path())
    assert module_of(name, files) == module


def test_files_and_rooms_are_read_from_folders(tmp_path: Path) -> None:
    """Docstrings and refusals are no files, links no second ones; a folder within a room is a part of it."""
    root = tmp_path
    refusal = '"""What it is."""\nif __name__ == "pipeline":\n    raise ImportError\n'
    texts = {
        "imagefeed/__init__.py": "from imagefeed.pipeline.image.jpeg.codec import x",
        "pipeline/__init__.py": refusal,
        "pipeline/image/pillow.py": "import numpy\nfrom imagefeed.pipeline.jit import views",
        "pipeline/image/jpeg/codec.py": "def late():\n    from imagefeed.pipeline.image import pillow",
        "pipeline/jit/views.py": "import random",
        "model/net.py": "import torch",
        "jobs/train.py": "from imagefeed.model.net import Net\nimport imagefeed",
        "tests/image/test_pillow.py": "",
        "tests/image/test_jpeg_codec.py": "",
        "tests/test_net.py": "",
    }
    write(root, texts)
    (root / "imagefeed" / "pipeline").symlink_to(Path("..", "pipeline"))
    files = files_of(root)
    assert file_graph(files) == {
        "imagefeed": {"pipeline.image.jpeg.codec"},
        "pipeline.image.pillow": {"pipeline.jit.views"},
        "pipeline.image.jpeg.codec": {"pipeline.image.pillow"},
        "pipeline.jit.views": set(),
        "model.net": set(),
        "jobs.train": {"model.net", "imagefeed"},
    }
    assert room_graph(files) == {
        "imagefeed": {"pipeline/image"},
        "pipeline/image": {"pipeline/jit"},
        "pipeline/jit": set(),
        "model": set(),
        "jobs": {"model", "imagefeed"},
    }
    assert largest_room(files) == (2, "pipeline/image")
    assert untested(root, files) == ["pipeline.jit.views", "jobs.train"]
    told = table(root)
    assert (told["files"], told["floors of files"], told["arrows between files"]) == ("6", "5", "5")
    assert (told["rooms"], told["floors of rooms"], told["circles of rooms"]) == ("5", "4", "0")
    assert told["largest file"] == "jobs.train, 2 lines"


def test_tables_stand_side_by_side() -> None:
    before, now = {"rooms": "70", "floors of rooms": "17"}, {"rooms": "25", "floors of rooms": "8"}
    said = side_by_side({"before": before, "now": now})
    assert said.splitlines() == [
        "                 before  now",
        "rooms            70      25",
        "floors of rooms  17      8",
    ]
