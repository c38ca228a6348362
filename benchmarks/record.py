"""Keeps a figure together with what it takes to believe it: hardware, versions, when, and the command.

One line of JSON a contender and run, appended to `benchmarks/results/<date>_<hardware>_<theme>.jsonl`.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "imagefeed",
    "numpy",
    "numba",
    "torch",
    "torchvision",
    "triton",
    "pillow",
    "pyarrow",
    "ray",
    "ffcv",
    "webdataset",
    "nvidia-dali-cuda120",
    "litdata",
    "grain",
    "spdl",
    "simplejpeg",
    "opencv-python-headless",
)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processor() -> str:
    """The processor's name, from /proc/cpuinfo."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def installed(package: str) -> str | None:
    """A package's version, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def command() -> str:
    """What to type to measure again, with DIR for every path of this machine."""
    arguments = ["DIR" if argument.startswith(("/", "../", "./", "~")) else argument for argument in sys.argv[1:]]
    script = Path(sys.argv[0]).resolve().relative_to(RESULTS.parents[1]).with_suffix("")
    return " ".join(["python -m", ".".join(script.parts), *arguments])


def record(theme: str, name: str, values: Mapping[str, Any]) -> Path:
    """Appends the figures `values` of contender `name`; returns the file."""
    now = datetime.now(UTC)
    line = {
        "theme": theme,
        "name": name,
        **values,
        "command": command(),
        "when": now.isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "versions": {package: installed(package) for package in PACKAGES} | {"python": platform.python_version()},
    }
    hardware = re.sub(r"[^a-z0-9]+", "-", f"{cores()}x-{processor()}".lower()).strip("-")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d}_{hardware}_{theme}.jsonl"
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
    return path
