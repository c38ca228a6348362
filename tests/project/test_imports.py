"""The plan of the house: which room may import which, read from the import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.structure import PARTS, ROOT, circles, file_graph, files_of, floors, imported, room_graph, room_of

MOST_FLOORS = 8

# Room -> the rooms that it imports; those of pipeline/ by their last name.
# A new arrow is a decision: it is written here, or the wall moves.
ROOMS = {
    "model": "",
    "jit": "",
    "runtime": "",
    "files": "jit runtime",
    "image": "jit",
    "sampling": "jit",
    "jobs/cluster": "files runtime",
    "formats": "files image jit",
    "kernel": "files image jit sampling",
    "dataset": "files formats image jit runtime sampling",
    "synthetic": "files formats",
    "jobs/report": "dataset",
    "jobs/runs": "dataset files kernel model runtime",
    "loader": "dataset files image jit kernel runtime sampling",
    "sources": "dataset files formats image runtime",
    "jobs/evaluation": "dataset files jobs/cluster jobs/report jobs/runs kernel loader model runtime",
    "bench": "dataset files image jit kernel loader runtime",
    "checks": "dataset files formats image jit runtime sources",
    "convert": "dataset files formats image jit runtime sampling sources synthetic",
    "interop": "dataset files formats image jit kernel loader runtime sampling",
    "imagefeed": "convert files interop loader runtime sampling",
    "jobs/serving": "dataset files image jobs/evaluation jobs/report jobs/runs loader model",
    "jobs/training": "convert files interop jobs/runs loader model runtime",
    "jobs": "convert files jobs/cluster jobs/evaluation jobs/report jobs/training model runtime",
    "jobs/cli": "bench checks convert dataset files formats image jit jobs/report jobs/runs jobs/serving "
    "loader runtime sources synthetic",
}

# Package from outside -> the rooms that alone import it.
ALONE = {
    "ffcv": "interop",
    "webdataset": "interop",
    "ray": "jobs/cluster",
    "triton": "model",
    "fsspec": "files",
}
NO_TORCH = ("jit", "runtime", "files", "sampling", "image", "formats", "kernel", "synthetic", "dataset", "sources")


def short(room: str) -> str:
    """A room's name in the tables above."""
    return room.removeprefix("pipeline/")


def outside(root: Path = ROOT) -> dict[str, set[str]]:
    """Room -> the top-level packages that its files import."""
    found: dict[str, set[str]] = {}
    for module, path in files_of(root).items():
        found.setdefault(short(room_of(module, path)), set()).update(name.split(".")[0] for name in imported(path))
    return found


def test_every_room_imports_the_rooms_that_the_plan_says() -> None:
    graph = room_graph(files_of(ROOT))
    assert {short(room): " ".join(sorted(map(short, graph[room]))) for room in graph} == ROOMS


def test_arrows_go_down_and_files_do_not_import_in_a_circle() -> None:
    files = files_of(ROOT)
    assert circles(file_graph(files)) == []
    graph = room_graph(files)
    stands_on = floors(graph)
    assert circles(graph) == []
    assert max(stands_on.values()) <= MOST_FLOORS
    assert all(stands_on[room] > stands_on[needed] for room in graph for needed in graph[room])


def test_a_circle_and_an_arrow_upwards_would_be_seen(tmp_path: Path) -> None:
    texts = {"low": "from imagefeed.pipeline.high import b", "high": "import imagefeed.pipeline.low.a"}
    for room, text in texts.items():
        folder = tmp_path / "pipeline" / room
        folder.mkdir(parents=True)
        (folder / ("a.py" if room == "low" else "b.py")).write_text(text)
    files = files_of(tmp_path)
    assert circles(file_graph(files)) == [["pipeline.high.b", "pipeline.low.a"]]
    assert circles(room_graph(files)) == [["pipeline/high", "pipeline/low"]]


@pytest.mark.parametrize("package", sorted(ALONE))
def test_a_package_from_outside_stays_in_its_room(package: str) -> None:
    assert {room for room, names in outside().items() if package in names} == {ALONE[package]}


def test_torch_begins_at_the_loader() -> None:
    found = outside()
    assert [room for room in NO_TORCH if "torch" in found[room]] == []


def test_model_needs_torch_and_triton_alone() -> None:
    assert outside()["model"] - set(sys.stdlib_module_names) <= {"torch", "triton", "imagefeed"}
    assert ROOMS["model"] == ""


def test_every_room_says_what_may_be_touched_in_it() -> None:
    for room in room_graph(files_of(ROOT)):
        said = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
        assert said and said.splitlines()[0].endswith((".", ":")), room


def test_relative_imports_do_not_hide_anything() -> None:
    for path in files_of(ROOT).values():
        levels = [node.level for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any(levels), path


def test_no_file_imports_a_folder_by_its_bare_name() -> None:
    """Two copies of every class and kernel would live in one process."""
    for path in [*files_of(ROOT).values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        assert not {name.split(".")[0] for name in imported(path)} & {"pipeline", "model", "jobs"}, path


@pytest.mark.parametrize("part", ["pipeline", "model", "jobs"])
def test_the_bare_name_is_refused_with_the_right_one(part: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {part}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"ImportError: import imagefeed.{part}" in done.stderr
    assert (ROOT / "imagefeed" / part).readlink() == Path("..", part)
    assert part in PARTS


def test_the_public_names_are_what_they_say_whatever_was_imported_first() -> None:
    import imagefeed
    import imagefeed.pipeline.files.paths

    for name in imagefeed.__all__:
        assert callable(getattr(imagefeed, name)), name


@pytest.mark.parametrize("page", ["imagefeed", "imagefeed.ffcv", "imagefeed.random", "imagefeed.webdataset"])
def test_a_public_page_gives_what_it_lists(page: str) -> None:
    """In a process of its own: FFCV alters what others compile in the same one."""
    shown = "page.__all__ == sorted(page.__all__), [getattr(page, name) for name in page.__all__]"
    program = f"import {page} as page; print({shown})"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("True ["), done.stderr
