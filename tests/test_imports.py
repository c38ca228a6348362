"""The walls between the packages, read from the import statements."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "pipeline": {"model", "jobs", "ray", "ffcv", "webdataset", "cv2"},
    "model": {"pipeline", "jobs", "ray", "ffcv", "webdataset", "numba", "pyarrow", "rich", "tyro", "matplotlib"},
}

# The files that are there for one of them alone.
ADAPTERS = {f"pipeline/engines/{name}{part}.py": name for name in ("ffcv", "webdataset") for part in ("", "_parts")}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_package_imports_over_its_wall(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    over = {}
    for path in files:
        name = str(path.relative_to(ROOT))
        if found := (imported(path) & FORBIDDEN[package]) - {ADAPTERS.get(name)}:
            over[name] = found
    assert over == {}
    assert all((ROOT / name).is_file() for name in ADAPTERS)


def test_model_needs_torch_and_triton_alone() -> None:
    allowed = {"torch", "triton", "model"}
    import sys

    for path in sorted((ROOT / "model").rglob("*.py")):
        assert imported(path) - set(sys.stdlib_module_names) <= allowed, path


def test_relative_imports_do_not_hide_anything() -> None:
    for package in ("pipeline", "model", "jobs"):
        for path in (ROOT / package).rglob("*.py"):
            levels = [node.level for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
            assert not any(levels), path


def test_the_public_names_are_what_they_say_whatever_was_imported_first() -> None:
    import pipeline
    import pipeline.home

    for name in pipeline.__all__:
        assert callable(getattr(pipeline, name)), name
