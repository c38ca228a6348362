"""Numba's cache on disk, made to notice every change: compiled code belongs to all compiled sources, not to one file.

Numba asks only whether the file of the outermost function has changed. A kernel that was compiled with another file's
functions inside it would go on as it was, and write yesterday's pixels.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import caching

PACKAGE = Path(__file__).parents[1]


@cache
def sources_digest() -> str:
    """SHA-256 of the files of this package that have something to compile: those that name Numba, LLVM or this file."""
    files = {path: path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))}
    words = b"numba", b"llvmlite", b"njit"
    compiled = [path.name.encode() + text for path, text in files.items() if any(word in text for word in words)]
    return hashlib.sha256(b"".join(compiled)).hexdigest()


class OfPackage:
    """What one of Numba's cache locators does, for functions of this package."""

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        """The locator, or None; then Numba asks the next one."""
        return super().from_function(function, file) if PACKAGE in Path(file).parents else None  # type: ignore[misc]

    def get_source_stamp(self) -> str:
        """What compiled code must have been made from to be used."""
        return sources_digest()


# Numba's own places in its own order: NUMBA_CACHE_DIR, beside the sources, the user's cache.
PLACES = (caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, caching.UserWideCacheLocator)
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

njit = numba.njit(cache=True, nogil=True)
