"""The table of docs/loader.md, made from the dataclass: `python -m tests.support.option_table` prints it."""

import ast
import dataclasses
import inspect
import re

from imagefeed.pipeline.loader.option_check import words
from imagefeed.pipeline.loader.options import RANGES, LoaderOptions, kinds_of


def meanings() -> dict[str, str]:
    """The docstring below each field, on one line."""
    (body,) = ast.parse(inspect.getsource(LoaderOptions)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = re.sub(r"\s+", " ", ast.literal_eval(text.value))
    return found


def table() -> str:
    """Name, what is allowed, default and meaning of every option, in Markdown."""
    kinds, said = kinds_of(LoaderOptions), meanings()
    lines = ["| option | one of | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(LoaderOptions):
        allowed = words(kinds[field.name], RANGES.get(field.name)).removeprefix("one of ")
        lines.append(f"| `{field.name}` | {allowed} | {field.default} | {said[field.name]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
