"""C libraries and their functions, callable from Numba code without the GIL and without Python."""

import ctypes
import ctypes.util
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import types


def find(name: str) -> ctypes.CDLL | None:
    """The shared library `name`, from the environment's own `lib` folder (conda) or from the system, if any."""
    candidates = [str(path) for path in sorted(Path(sys.prefix, "lib").glob(f"lib{name}.so*"))]
    system = ctypes.util.find_library(name)
    for candidate in candidates + ([system] if system else []):
        try:
            return ctypes.CDLL(candidate, mode=os.RTLD_LOCAL | os.RTLD_NOW)
        except OSError:  # e.g. a library for another processor in the same folder: try the next
            continue
    return None


@cache
def nothing() -> Any:
    """What stands for the functions of a library that is not here: it returns 0."""
    return numba.cfunc(types.intp())(lambda: 0).ctypes


def bind(library: ctypes.CDLL | None, symbol: str, result: types.Type, *arguments: types.Type) -> Any:
    """`symbol` of `library` as a function that Numba code may call (`numba.types.ExternalFunction`).

    Compiled code knows it by a name, so what is kept on disk is the same with the library and without: without, the
    name stands for a function that returns 0, and a caller must take that for an answer.
    """
    function = nothing() if library is None else getattr(library, symbol)
    address = ctypes.cast(function, ctypes.c_void_p).value
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
