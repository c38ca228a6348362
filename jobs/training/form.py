"""The options of a training run as the command line shows them: in groups, what most runs need first."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, make_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

Config = TypeVar("Config")

# Group -> what it says, and its fields in their order; the last group has all others.
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "run": (
        "Where and for how long.",
        (
            *("out", "resume", "epochs", "max_steps", "seed", "device", "dtype", "threads"),
            *("checkpoint_every", "keep_last", "keep_every", "log_every"),
        ),
    ),
    "data": ("What is learnt from.", ("data", "batch_size", "recipe", "colour_epochs", "engine", "finish")),
    "schedule": (
        "How fast it is learnt.",
        (
            *("learning_rate", "reference_batch", "schedule", "patience", "milestones", "warm_up", "momentum"),
            *("weight_decay", "label_smoothing", "sgd"),
        ),
    ),
    "net": ("What learns.", ("preset", "width", "input_size", "norm", "dropout", "initialisation")),
    "expert": ("What a preset sets, and how the work is done; seldom changed.", ()),
}


def grouped(config: Any) -> dict[str, tuple[str, ...]]:
    """Group -> the fields of the dataclass `config` that are in it; each field is in one group."""
    named = {name for _, names in GROUPS.values() for name in names}
    rest = tuple(field.name for field in fields(config) if field.name not in named)
    return {group: names or rest for group, (_, names) in GROUPS.items()}


def ask(default: Config, **how: Any) -> Config:
    """`tyro.cli`, given `how`, for a dataclass whose defaults are those of `default`, with its fields in groups."""
    kind = type(default)
    types, said = get_type_hints(kind, include_extras=True), explanations(kind)
    groups: list[tuple[str, type, Any]] = []
    for group, names in grouped(default).items():
        columns = [
            (name, Annotated[types[name], tyro.conf.arg(help=said[name])], getattr(default, name)) for name in names
        ]
        part = make_dataclass(group, columns, kw_only=True, frozen=True)
        part.__doc__ = GROUPS[group][0]
        groups.append((group, part, part()))

    def filled(form: Any) -> Config:
        return kind(**{name: value for group, _, _ in groups for name, value in vars(getattr(form, group)).items()})

    form = make_dataclass(
        "options", groups, frozen=True, namespace={"__post_init__": filled}
    )  # what it raises is shown
    return filled(tyro.cli(form, config=(tyro.conf.OmitArgPrefixes,), **how))


def explanations(kind: type) -> Mapping[str, str]:
    """Field -> the string below it, on one line, of a dataclass and those that it is made of."""
    found = {}
    for each in filter(is_dataclass, reversed(kind.__mro__)):
        (body,) = ast.parse(inspect.cleandoc(inspect.getsource(each))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found
