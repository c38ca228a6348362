"""Whether parsed JSON is of the types that a dataclass declares: dataclasses themselves do not look."""

import math
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def type_check(value: Any, kind: Any, name: str) -> None:
    """Raises `TypeError` that begins with `name` where `value` is not of type `kind`, all the way down.

    Knows dataclasses, tuple[X, ...], dict[str, X], Literal, X | None, int (no bool), float (finite) and str.
    """
    if is_dataclass(kind):
        for field, inner in get_type_hints(kind).items():
            type_check(getattr(value, field), inner, f"{name}.{field}" if name else field)
    elif get_origin(kind) is tuple:
        demand(isinstance(value, tuple), value, name)
        for index, each in enumerate(value):
            type_check(each, get_args(kind)[0], f"{name}[{index}]")
    elif get_origin(kind) is dict:
        demand(isinstance(value, dict), value, name)
        for key, each in value.items():
            type_check(each, get_args(kind)[1], f"{name}[{key!r}]")
    elif get_origin(kind) is Literal:
        demand(isinstance(value, str) and value in get_args(kind), value, name)
    elif isinstance(kind, UnionType):
        if value is not None:
            type_check(value, get_args(kind)[0], name)
    elif kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        demand(number and math.isfinite(value), value, name)
    else:
        demand(isinstance(value, kind) and not isinstance(value, bool), value, name)


def demand(right: bool, value: Any, name: str) -> None:
    """Raises `TypeError` unless `right`."""
    if not right:
        raise TypeError(f"{name} cannot be {str(value)[:40]!r}")
