"""pyproject.toml, requirements.lock, environment.yml and `run` speak of the same versions, and the parts of an
installation are what the import statements need."""

import re
import sys
import tomllib
from importlib import metadata
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from imagefeed.pipeline.runtime.parts import FFCV, PARTS
from tests.project.structure import ROOT, files_of, imported

BASE = {"fsspec", "numba", "numpy", "pillow", "pyarrow", "rich", "torch", "tyro"}
# What is imported, where the package that gives it has another name.
NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "distutils": "setuptools",
    "llvmlite": "numba",
    "markupsafe": "jinja2",
    "vl_convert": "vl-convert-python",
}
# Part -> the modules that alone import its packages.
PLACES = {
    "ray": ("jobs.cluster.",),
    "train": ("jobs.runs.tracker", "model.lrn_triton"),
    "serve": ("jobs.serving.", "jobs.report."),
    "evaluate": ("jobs.evaluation.", "jobs.report."),
    "export": ("jobs.export",),
    "s3": (),
    "webdataset": ("pipeline.interop.webdataset",),
    "ffcv": ("pipeline.interop.ffcv", "pipeline.interop.ffcv_ops"),
    "plot": ("pipeline.bench.advice",),
}


def lock_lines() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked() -> dict[str, str]:
    """Package -> version, of the lock."""
    pins = [re.fullmatch(r"([a-z0-9-]+)==([0-9a-z.]+)(; platform_system == \"Linux\")?", line) for line in lock_lines()]
    assert all(pins), "each line pins one package, with no local version, address or path"
    return {pin[1]: pin[2] for pin in pins if pin}


def project() -> dict[str, Any]:
    section: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return section


def asked_for() -> list[Requirement]:
    extras = [line for lines in project()["optional-dependencies"].values() for line in lines]
    found = [Requirement(line) for line in project()["dependencies"] + extras]
    return [requirement for requirement in found if requirement.name != "imagefeed"]


def packages_of(part: str) -> set[str]:
    """What an extra asks for by name, without the extras that it refers to."""
    found = {Requirement(line).name for line in project()["optional-dependencies"][part]}
    return found - {"imagefeed"}


def with_referred(part: str) -> set[str]:
    """What installing an extra gives beside the base."""
    referred = [Requirement(line) for line in project()["optional-dependencies"][part]]
    inner = {each for line in referred if line.name == "imagefeed" for each in line.extras}
    return packages_of(part).union(*map(with_referred, inner))


def importers() -> dict[str, set[str]]:
    """Package from outside -> the modules that import it, anywhere in them."""
    found: dict[str, set[str]] = {}
    for module, path in files_of(ROOT).items():
        for name in imported(path):
            outer = "tensorboard" if name.startswith("torch.utils.tensorboard") else name.split(".")[0]
            if outer not in sys.stdlib_module_names and outer != "imagefeed":
                found.setdefault(NAMES.get(outer, outer), set()).add(module)
    return found


def ffcv_pins(file: str) -> list[str]:
    return re.findall(r"ffcv==([0-9.]*[0-9])", (ROOT / file).read_text())


@pytest.mark.parametrize("requirement", asked_for(), ids=lambda requirement: requirement.name)
def test_lock_holds_what_the_project_asks_for(requirement: Requirement) -> None:
    version = locked()[requirement.name]
    assert requirement.specifier.contains(version)
    (bound,) = requirement.specifier
    assert bound.operator == ">="  # a lower bound: the lock is for us, the bound for who uses us as a library


def test_lock_holds_what_its_packages_ask_for() -> None:
    """As far as their installed metadata tell: a gap would be filled by whatever is newest on the day."""
    for name in locked():
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": "default" if name == "ray" else ""}):
                pin = locked().get(re.sub(r"[-_.]+", "-", needed.name).lower())
                assert pin is not None, f"{name} needs {needed.name}"
                assert needed.specifier.contains(pin), f"{name} needs {needed}"


def test_what_is_installed_is_what_the_lock_says() -> None:
    installed = {name: metadata.version(name).partition("+")[0] for name in locked()}
    assert installed == locked()


def test_environment_installs_the_lock_and_pins_nothing_beside_it() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock"]
    python, *others = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    # A version here would be one more to keep in step; of OpenCV ffcv's build knows none from 5 on.
    assert all(re.fullmatch(r"[a-z-]+", entry) for entry in others if entry != "libopencv<5")
    assert "libopencv<5" in others and "pkg-config --exists opencv4" in (ROOT / "run").read_text()
    assert not {"xxhash", "libxxhash"} & set(others) and "xxhash" not in (ROOT / "run").read_text()
    interpreters = SpecifierSet(python.removeprefix("python"))
    wanted = SpecifierSet(project()["requires-python"])
    minors = [f"3.{minor}.0" for minor in range(30)]
    assert {minor for minor in minors if minor in interpreters} <= {minor for minor in minors if minor in wanted}
    assert "3.11.0" in interpreters


def test_one_version_of_ffcv() -> None:
    assert ffcv_pins("run") == ffcv_pins("environment.yml") == re.findall("==(.*)", FFCV) == [metadata.version("ffcv")]


def test_every_version_is_said_once() -> None:
    names = [requirement.name for requirement in asked_for()]
    assert {name for name in names if names.count(name) > 1} <= {"fsspec"}


def test_the_base_is_what_its_import_statements_need() -> None:
    base = {Requirement(line).name for line in project()["dependencies"]}
    assert base == BASE
    of_parts = set().union(*(packages_of(part) for part in PLACES)) | {"ffcv"}
    assert set(importers()) - of_parts == BASE


@pytest.mark.parametrize("part", PLACES)
def test_packages_of_a_part_are_imported_only_where_the_part_is(part: str) -> None:
    packages = packages_of(part) | ({"ffcv"} if part == "ffcv" else set())
    elsewhere = {
        (package, module)
        for package in packages
        for module in importers().get(package, ())
        if not any(module == place or (place.endswith(".") and module.startswith(place)) for place in PLACES[part])
    }
    assert elsewhere == set()


def test_the_parts_are_the_extras() -> None:
    extras = project()["optional-dependencies"]
    assert set(PARTS) == set(PLACES) == set(extras) - {"all", "dev"}
    assert with_referred("all") == set().union(*(with_referred(part) for part in PARTS))
    assert with_referred("all") <= with_referred("dev")
    for part, names in PARTS.items():
        extra = {"ffcv"} if part == "ffcv" else set()
        assert {NAMES.get(name, name) for name in names} == with_referred(part) | extra
