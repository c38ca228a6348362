"""Where things lie when the user names no place: below $IMAGEFEED_HOME, and made when they are first asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagefeed.pipeline.runtime.os_errors import doing

CURE = "set IMAGEFEED_HOME to a folder with room that can be written to"


def home() -> Path:
    """$IMAGEFEED_HOME, or ~/.cache/imagefeed. Raises `RuntimeError` where the user has no home either."""
    try:
        return Path(os.environ.get("IMAGEFEED_HOME") or "~/.cache/imagefeed").expanduser().resolve()
    except RuntimeError as error:
        raise RuntimeError(f"no home folder is known for this user: {CURE}") from error


@contextmanager
def below_home(path: Path) -> Iterator[Path]:
    """Yields a folder below `home`, which is made; an `OSError` in the block names it and IMAGEFEED_HOME."""
    with doing("written", path, CURE):
        path.mkdir(parents=True, exist_ok=True)
        yield path


def in_home(name: str) -> Path:
    """A file or folder below `home`, which is made."""
    with below_home(home()) as folder:
        return folder / name


def indexes() -> Path:
    """The folder for the indexes of shards that others made; any of them may be deleted, and is made again."""
    return home() / "indexes"


ROOT = Path(__file__).absolute().parents[3]  # the folder in which `imagefeed` was found


def checkout() -> Path | None:
    """The checkout that runs, or a job's copy of it; None where imagefeed is installed, and found without help."""
    return ROOT if (ROOT / "pyproject.toml").is_file() else None


def import_path() -> dict[str, str]:
    """What the environment of another Python process needs, so that it imports this very imagefeed.

    Of an installed one that is nothing: site-packages in PYTHONPATH would come before the standard library.
    """
    found = checkout()
    if found is None:
        return {}
    others = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each not in ("", str(found))]
    return {"PYTHONPATH": os.pathsep.join([str(found), *others])}


def real(place: str | Path) -> str:
    """A path with its links followed, or a URL, without a stroke at the end: as `OutputFolder`s are called."""
    return str(place).rstrip("/") if "://" in str(place) else os.path.realpath(place)


def absolute(path: Path) -> Path:
    """`path`, absolute. `ValueError` for a relative one in a submitted job, which runs in a copy."""
    if not path.is_absolute() and "working_dir_files" in Path.cwd().parts:
        raise ValueError(f"{path} is relative to the job's own copy of the checkout: give an absolute path")
    return path.absolute()
