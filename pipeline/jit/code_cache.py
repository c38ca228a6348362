"""Numba's cache on disk, made to notice every change and shared by every copy of this package.

Numba asks only whether the file of the outermost function has changed. A kernel that was compiled with another file's
functions inside it would go on as it was, and write yesterday's pixels. So compiled code belongs to all compiled
sources, and to the settings that it was compiled with.

It lies in the user's cache, in a folder of that name: a second checkout, an installed copy and the working directory
that Ray makes for each job find there what the first has compiled. Where nothing can be kept, each process compiles.
"""

import hashlib
import os
import pickle
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching

config: Any = numba.config
PACKAGE = Path(__file__).parents[1]
KEPT_DAYS = 30.0  # since code of other sources was last used
CURE = "name another folder in NUMBA_CACHE_DIR"
# What a file gives that was cut short, or that names a class of another version.
BROKEN = pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, TypeError, ValueError


@cache
def stamp() -> str:
    """SHA-256 of what compiled code must have been made from to be used: sources, compiler and its settings.

    The sources are the files of this package that have something to compile: those that name Numba, LLVM or this file.
    """
    files = {path: path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))}
    words = b"numba", b"llvmlite", b"njit"
    compiled = [path.name.encode() + text for path, text in files.items() if any(word in text for word in words)]
    settings = (numba.__version__, llvmlite.__version__, config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT)
    return hashlib.sha256(b"".join(compiled) + repr(settings).encode()).hexdigest()


def places() -> Iterator[Path]:
    """Where compiled code may lie: below NUMBA_CACHE_DIR, or else in the user's cache, or below IMAGEFEED_HOME."""
    if config.CACHE_DIR:
        yield Path(config.CACHE_DIR, "imagefeed")
        return
    with suppress(RuntimeError):  # there is no home
        yield Path("~/.cache/imagefeed/compiled").expanduser()
    if os.environ.get("IMAGEFEED_HOME"):
        yield Path(os.environ["IMAGEFEED_HOME"], "compiled")


@cache
def folder() -> Path:
    """Where this process keeps what it compiles: the first of `places` that can be had. It may be read-only.

    What nobody used for `KEPT_DAYS` beside it goes. Raises `OSError` where there is none.
    """
    failure = OSError("no folder for compiled code: " + CURE)
    for place in places():
        mine = place / stamp()[:20]
        try:
            mine.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            failure = error
            continue
        with suppress(OSError):
            os.utime(mine)
            remove_old(place)
        return mine
    raise failure


def remove_old(place: Path) -> None:
    """Removes what nobody used for `KEPT_DAYS`."""
    for other in place.iterdir():
        with suppress(FileNotFoundError):  # another process is at it
            if time.time() - other.stat().st_mtime > KEPT_DAYS * 24 * 3600:
                shutil.rmtree(other, ignore_errors=True)


class OfPackage:
    """What one of Numba's cache locators does, for functions of this package."""

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        """The locator, or None; then Numba asks the next one."""
        return super().from_function(function, file) if PACKAGE in Path(file).parents else None  # type: ignore[misc]

    def get_source_stamp(self) -> str:
        """What compiled code must have been made from to be used."""
        return stamp()


class SharedLocator(caching._CacheLocator):
    """The place in `folder` of a file's functions, wherever the file itself lies."""

    def __init__(self, function: Any, file: str) -> None:
        self._line = function.__code__.co_firstlineno
        self._path = folder() / Path(file).relative_to(PACKAGE).parent

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self._path)

    def get_disambiguator(self) -> str:
        """What tells functions of one name in one file apart."""
        return str(self._line)

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        """The locator, or None where there is no place."""
        try:
            locator = cls(function, file)
            locator._path.mkdir(parents=True, exist_ok=True)
            return locator
        except OSError:
            return None


# Where the user's cache cannot be written, Numba's own places: beside the sources, its own folder for the user.
PLACES = (SharedLocator, caching.InTreeCacheLocator, caching.UserWideCacheLocator)
locators: list[Any] = [type(place.__name__, (OfPackage, place), {}) for place in PLACES]
caching.CacheImpl._locator_classes[:0] = locators


class Index(caching.IndexDataCacheFile):
    """What Numba keeps of a function on disk. What cannot be read is as good as not there, and is written anew; what
    cannot be written is compiled in each process."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except (OSError, *BROKEN):
            return {}

    def _load_data(self, name: str) -> Any:
        try:
            return super()._load_data(name)
        except BROKEN as error:
            raise OSError(f"{name} is broken") from error  # which Numba takes for a file that is gone

    def save(self, key: Any, data: Any) -> None:
        """Keeps the code of one specialisation."""
        try:
            super().save(key, data)
        except OSError as error:
            not_kept(f"in {self._cache_path}: {error.strerror or error}")


caching.IndexDataCacheFile = Index  # type: ignore[misc]


@cache
def not_kept(why: str) -> None:
    """Says once in a process that compiled code is lost with it."""
    print(f"compiled code cannot be kept {why}; each process compiles for itself: {CURE}", file=sys.stderr, flush=True)
