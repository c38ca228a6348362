"""Whether a value is of an option's annotated type and within its range, and the words for what is allowed."""

import math
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import numpy as np

Range = tuple[int, int | None]  # least and most, None: no limit


class Row(NamedTuple):
    """A row of values of one type, as an option."""

    kinds: str  # NumPy's letters for the types of its values
    words: str


ROWS = {int: Row("iu", "a row of integers"), float: Row("iuf", "a row of numbers"), str: Row("U", "a row of text")}
MOST_NAMED = 80  # characters of a wrong value in a message


def check_option(name: str, value: Any, kind: Any, limits: Range | None = None) -> Any:
    """`value`, NumPy's numbers as Python's, where it is of the type `kind` and within `limits`.

    Knows Literal, bool, int (no bool), float (finite), Sequence of numbers or of text (which is none itself), paths,
    functions, None and unions of them. Raises `TypeError` for another type and `ValueError` for another value, with the
    option and what is allowed.
    """
    kinds, choices = alternatives(kind), choices_of(kind)
    if not any(fits(value, each) for each in kinds):
        near = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
        hint = f": did you mean {near[0]}?" if near else ""
        error = ValueError if isinstance(value, str) and choices else TypeError
        raise error(f"{name} must be {words(kind, limits)}, not {named(value)}{hint}")
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        value = int(value)
    if limits and type(value) is int and not (limits[0] <= value and (limits[1] is None or value <= limits[1])):
        raise ValueError(f"{name} must be {words(kind, limits)}, not {value}")
    return value


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or `kind` alone."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def choices_of(kind: Any) -> list[str]:
    """The words that a type allows."""
    return [choice for each in alternatives(kind) if get_origin(each) is Literal for choice in get_args(each)]


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of one type that `check_option` knows."""
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) is Sequence:
        return is_row(value, ROWS[get_args(kind)[0]].kinds)
    if get_origin(kind) is Callable:
        return callable(value)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool | np.bool_)
        return number and math.isfinite(value)
    if kind in (NoneType, str, Path):
        return isinstance(value, kind)
    if kind is np.ndarray:
        return False  # a row of numbers, of which the sequence beside it in the union says more
    raise TypeError(f"an option of type {kind} cannot be checked")


def is_row(value: Any, kinds: str) -> bool:
    """Whether `value` is a row, NumPy's or others', of one of these kinds of type; any empty row is one."""
    if isinstance(value, str | bytes | dict | set) or not hasattr(value, "__len__"):
        return False
    try:
        row = np.asarray(value)
    except (ValueError, TypeError):  # rows of several lengths
        return False
    if row.ndim != 1 or not (row.dtype.kind in kinds or not row.size):
        return False
    return row.dtype.kind == "U" or bool(np.isfinite(row).all())


def words(kind: Any, limits: Range | None = None) -> str:
    """What is allowed, for a message."""
    found: list[str] = []
    for each in alternatives(kind):
        if get_origin(each) is Literal:
            found += get_args(each)
        elif get_origin(each) is Sequence:
            found.append(ROWS[get_args(each)[0]].words)
        elif get_origin(each) is Callable:
            found.append("a function")
        elif each is bool:
            found.append("True or False")
        elif each is int:
            least, most = limits or (None, None)
            span = "" if least is None else f" from {least} to {most}" if most is not None else f", at least {least}"
            found.append(f"an integer{span}")
        elif each is not np.ndarray:
            found.append({NoneType: "None", float: "a number", str: "text", Path: "a path"}[each])
    return ("one of " if len(found) > 1 else "") + ", ".join(found)


def named(value: Any) -> str:
    """A wrong value, shortened."""
    text = repr(value)
    return text if len(text) <= MOST_NAMED else f"{text[:MOST_NAMED]}..."
