"""`njit`: Numba's own, for functions that are kept on disk and compiled once on a machine."""

from pathlib import Path
from typing import Any

from imagefeed.pipeline.jit.code_cache import PACKAGE, not_kept
from imagefeed.pipeline.jit.parts import any_njit, with_part
from imagefeed.pipeline.jit.turns import announced, in_turn

OPTIONS = {"nogil": True, "no_cfunc_wrapper": True}


def njit(function: Any) -> Any:
    """Compiles a function when it is called first, from Python or from other compiled code. It runs without the GIL."""
    return with_part(compiled(function))


def inlined_njit(function: Any) -> Any:
    """The same for what is called once a row: to hand its arguments over would take a part of its time."""
    return with_part(compiled(function), inlined=True)


def compiled(function: Any) -> Any:
    """A function that is kept on disk where there is a place for it. One of another package is not: of its file Numba
    would notice changes, and not of what it calls here."""
    if PACKAGE not in Path(function.__code__.co_filename).parents:
        return aloud(any_njit(**OPTIONS)(function), f"compiling {function.__name__}")
    try:
        return one_at_a_time(any_njit(**OPTIONS, cache=True)(function))
    except RuntimeError:  # there is no folder that can be written
        return saying_so(any_njit(**OPTIONS)(function))


def one_at_a_time(function: Any) -> Any:
    """A function that one process compiles for all."""
    compile, name = function.compile, function.py_func.__name__
    folder = Path(function._cache.cache_path)

    def compile_in_turn(signature: Any) -> Any:
        with in_turn(folder, name):
            return compile(signature)

    function.compile = compile_in_turn
    return aloud(function, f"compiling {name} for this machine, which happens once")


def aloud(function: Any, words: str) -> Any:
    """A function whose compiling is announced, and not the reading of what others have compiled."""
    compile = function._compiler.compile

    def compile_aloud(args: Any, return_type: Any) -> Any:
        with announced(words, f"compiled {function.py_func.__name__}"):
            return compile(args, return_type)

    function._compiler.compile = compile_aloud
    return function


def saying_so(function: Any) -> Any:
    """A function that each process compiles for itself."""
    compile = function.compile

    def compile_here(signature: Any) -> Any:
        not_kept("anywhere: no folder of the user can be written")
        return compile(signature)

    function.compile = compile_here
    return aloud(function, f"compiling {function.py_func.__name__}")
