"""Whether parsed JSON is of the types that a dataclass declares, and the dataclass made of it: dataclasses themselves
do not look."""

import math
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def type_check(value: Any, kind: Any, name: str) -> None:
    """Raises `TypeError` that begins with `name` where `value` is not of type `kind`, all the way down.

    Knows dataclasses, tuple[X, ...], dict[str, X], Literal, X | None, int (no bool), float (finite), str, bool and Any.
    """
    if is_dataclass(kind):
        for field, inner in get_type_hints(kind).items():
            type_check(getattr(value, field), inner, below(name, field))
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
    elif kind is not Any:
        demand(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), value, name)


def from_json(value: Any, kind: Any, name: str = "") -> Any:
    """A value of type `kind`, of those that `type_check` knows, from parsed JSON: objects become dataclasses, arrays
    tuples. What stands where Any is declared stays as it is.

    Raises `TypeError` that begins with `name` and the field where something is missing, unknown or of another type.
    """
    if is_dataclass(kind):
        demand(isinstance(value, dict), value, name)
        hints = get_type_hints(kind)
        for field in fields(kind):
            if field.name not in value:
                raise TypeError(f"{below(name, field.name)} is missing")
        for key in value:
            if key not in hints:
                raise TypeError(f"{below(name, key)} is not known")
        made = {field: from_json(value[field], inner, below(name, field)) for field, inner in hints.items()}
        return kind(**made)  # type: ignore[operator]  # mypy takes it for an instance, too
    if get_origin(kind) is tuple:
        demand(isinstance(value, list), value, name)
        return tuple(from_json(each, get_args(kind)[0], f"{name}[{index}]") for index, each in enumerate(value))
    if get_origin(kind) is dict:
        demand(isinstance(value, dict), value, name)
        return {key: from_json(each, get_args(kind)[1], f"{name}[{key!r}]") for key, each in value.items()}
    if isinstance(kind, UnionType):
        return None if value is None else from_json(value, get_args(kind)[0], name)
    type_check(value, kind, name)
    return value


def below(name: str, field: str) -> str:
    """The name of a field of what is called `name`."""
    return f"{name}.{field}" if name else field


def demand(right: bool, value: Any, name: str) -> None:
    """Raises `TypeError` unless `right`."""
    if not right:
        raise TypeError(f"{name} cannot be {str(value)[:40]!r}")
