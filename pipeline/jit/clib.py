"""C libraries and their functions, callable from Numba code without the GIL and without Python."""

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba import types


def find(name: str, package: str) -> ctypes.CDLL:
    """The shared library `name`, from the environment's own `lib` folder (conda) or from the system.

    Raises `ImportError` with the package to install where there is none.
    """
    candidates = [str(path) for path in sorted(Path(sys.prefix, "lib").glob(f"lib{name}.so*"))]
    system = ctypes.util.find_library(name)
    for candidate in candidates + ([system] if system else []):
        try:
            return ctypes.CDLL(candidate, mode=os.RTLD_LOCAL | os.RTLD_NOW)
        except OSError:  # e.g. a library for another processor in the same folder: try the next
            continue
    raise ImportError(f"lib{name} was not found: install it (Debian, Ubuntu: apt-get install {package})")


def bind(library: ctypes.CDLL, symbol: str, result: types.Type, *arguments: types.Type) -> Any:
    """`symbol` of `library` as a function that Numba code may call (`numba.types.ExternalFunction`)."""
    address = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
    unique = f"imagefeed_{symbol}"
    llvm.add_symbol(unique, address)
    return types.ExternalFunction(unique, result(*arguments))


BYTES = types.uint8[::1]  # Numba's one object for this type, which every dispatcher's table is keyed by


def check_numba() -> None:
    """Raises `RuntimeError` where FFCV's loader has run in this process, before anything more is compiled here.

    FFCV 1.0.2 (`memory_managers/os_cache.py`) sets `mutable` on Numba's own type of byte arrays. Its hash changes with
    that, and Numba then searches its tables for ever: an error is better than a process that hangs.
    """
    if not BYTES.mutable:
        raise RuntimeError(
            "FFCV's loader has altered Numba's type of byte arrays in this process, which would hang the compiler: "
            "make imagefeed's loaders first, or use the two in processes of their own"
        )


libc = ctypes.CDLL(None, use_errno=True)
