"""pyproject.toml, requirements.lock, environment.yml and `run` speak of the same versions."""

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]


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
    return [Requirement(line) for line in project()["dependencies"] + extras]


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
    assert all(re.fullmatch(r"[a-z-]+", entry) for entry in others), "a version here would be one more to keep in step"
    interpreters = SpecifierSet(python.removeprefix("python"))
    wanted = SpecifierSet(project()["requires-python"])
    minors = [f"3.{minor}.0" for minor in range(30)]
    assert {minor for minor in minors if minor in interpreters} <= {minor for minor in minors if minor in wanted}
    assert "3.11.0" in interpreters


def test_one_version_of_ffcv() -> None:
    assert ffcv_pins("run") == ffcv_pins("environment.yml") == [metadata.version("ffcv")]
