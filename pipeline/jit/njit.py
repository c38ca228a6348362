"""Numba's cache on disk, made to notice every change and shared by every copy of this package.

Numba asks only whether the file of the outermost function has changed. A kernel that was compiled with another file's
functions inside it would go on as it was, and write yesterday's pixels. So compiled code belongs to all compiled
sources, and to the settings that it was compiled with.

It lies in the user's cache, in a folder of that name: a second checkout, an installed copy and the working directory
that Ray makes for each job find there what the first has compiled.
"""

import hashlib
import os
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching

from imagefeed.pipeline.jit.parts import any_njit, with_part

config: Any = numba.config
PACKAGE = Path(__file__).parents[1]
PLACE = Path("~/.cache/imagefeed/compiled")  # unless NUMBA_CACHE_DIR names another
KEPT_DAYS = 30.0  # since code of other sources was last used


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


@cache
def folder() -> Path:
    """Where this process keeps what it compiles; what nobody used for `KEPT_DAYS` beside it goes.

    Raises `OSError` where it cannot be made.
    """
    try:
        place = Path(config.CACHE_DIR, "imagefeed") if config.CACHE_DIR else PLACE.expanduser()
    except RuntimeError as error:  # there is no home
        raise OSError(str(error)) from error
    mine = place / stamp()[:20]
    mine.mkdir(parents=True, exist_ok=True)
    os.utime(mine)
    for other in place.iterdir():
        with suppress(FileNotFoundError):  # another process is at it
            if time.time() - other.stat().st_mtime > KEPT_DAYS * 24 * 3600:
                shutil.rmtree(other, ignore_errors=True)
    return mine


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
        self._path = folder() / Path(file).relative_to(PACKAGE).with_suffix("")

    def get_cache_path(self) -> str:
        """A folder."""
        return str(self._path)

    def get_disambiguator(self) -> str:
        """What tells functions of one name in one file apart."""
        return str(self._line)

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        """The locator, or None where nothing can be written there."""
        try:
            locator = cls(function, file)
            locator.ensure_cache_path()
            return locator
        except OSError:
            return None


# Where the user's cache cannot be written, Numba's own places: beside the sources, its own folder for the user.
PLACES = (SharedLocator, caching.InTreeCacheLocator, caching.UserWideCacheLocator)
locators: list[Any] = [type(place.__name__, (OfPackage, place), {}) for place in PLACES]
caching.CacheImpl._locator_classes[:0] = locators


class Index(caching.IndexDataCacheFile):
    """What Numba keeps of a function on disk; one that names a class that is gone is as outdated as any other."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except (AttributeError, ImportError):
            return {}


caching.IndexDataCacheFile = Index  # type: ignore[misc]

_compile = any_njit(cache=True, nogil=True, no_cfunc_wrapper=True)


def njit(function: Any) -> Any:
    """Compiles a function when it is called first, from Python or from other compiled code. It runs without the GIL."""
    return with_part(_compile(function))
