"""The JSON Schema of report.json, made from its classes.

python -m imagefeed.jobs.report.json_schema      # writes docs/report.schema.json anew; a test holds them together
"""

import inspect
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from imagefeed.jobs.report.schema import VERSION, Report

FILE = Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"
PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what `schema.to_text` writes of a dataclass with a version."""
    definitions: dict[str, Any] = {}
    content = schema_of(kind, definitions)
    definitions[kind.__name__]["properties"]["version"] = {"const": VERSION}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **content, "$defs": definitions}


def schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """What JSON of a type looks like; the dataclasses in it are added to `definitions`, by name."""
    if is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]  # a class, not an instance
        if name not in definitions:
            hints, definitions[name] = get_type_hints(kind), {}  # first itself: those that it needs come behind it
            definitions[name] |= {
                "type": "object",
                "description": " ".join((inspect.getdoc(kind) or "").split()),
                "properties": {field.name: schema_of(hints[field.name], definitions) for field in fields(kind)},
                "required": [field.name for field in fields(kind)],
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": schema_of(get_args(kind)[0], definitions)}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": schema_of(get_args(kind)[1], definitions)}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if isinstance(kind, UnionType):
        return {"anyOf": [schema_of(each, definitions) for each in get_args(kind)]}
    return {} if kind is Any else {"type": PLAIN[kind]}


def text() -> str:
    """The content of docs/report.schema.json."""
    return json.dumps(json_schema(Report), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
