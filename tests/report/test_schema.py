"""report.json: what is written is what is read, in its own words for other languages too, and nothing else is."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagefeed.jobs.evaluation.compare import comparison, read_evaluation
from imagefeed.jobs.report.comparison_schema import Comparison
from imagefeed.jobs.report.json_schema import FILE, json_schema, text
from imagefeed.jobs.report.schema import Report, from_text, headline, read_report, to_text
from tests.evaluation.test_compare import write_evaluation
from tests.support.made_up import made_up_report

KINDS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
}


def complaints(value: Any, schema: dict[str, Any], names: dict[str, Any], where: str = "$") -> list[str]:
    """Where parsed JSON breaks a JSON Schema of the few words that ours uses: a reader of our own."""
    if "$ref" in schema:
        return complaints(value, names[schema["$ref"].removeprefix("#/$defs/")], names, where)
    if "anyOf" in schema:
        tried = [complaints(value, each, names, where) for each in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    if "const" in schema or "enum" in schema:
        return [] if value in schema.get("enum", [schema.get("const")]) else [where]
    kind = schema.get("type")
    if kind == "array":
        items = enumerate(value) if isinstance(value, list) else ()
        inner = [each for i, item in items for each in complaints(item, schema["items"], names, f"{where}[{i}]")]
        return inner if isinstance(value, list) else [where]
    if kind == "object":
        if not isinstance(value, dict):
            return [where]
        properties, more = schema.get("properties", {}), schema["additionalProperties"]
        found = [f"{where}.{name}" for name in schema.get("required", ()) if name not in value]
        for name, each in value.items():
            inside = f"{where}.{name}"
            if name in properties or more is not False:
                found += complaints(each, properties.get(name, more), names, inside)
            else:
                found.append(inside)
        return found
    wrong = kind is not None and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"))
    return [where] if wrong else []


def broken(report: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    return complaints(report, {"$ref": schema["$ref"]}, schema["$defs"])


def content() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(to_text(made_up_report()))
    return parsed


# Where a report is spoilt, and what the error says of it.
SPOILT: list[tuple[Callable[[dict[str, Any]], Any], str, str]] = [
    (lambda each: each.pop("split"), "split is missing", "$.split"),
    (lambda each: each.update(version=2), "version cannot be '2', only 1 is known", "$.version"),
    (lambda each: each.update(num_samples="many"), "num_samples cannot be 'many'", "$.num_samples"),
    (lambda each: each.update(num_samples=True), "num_samples cannot be 'True'", "$.num_samples"),
    (lambda each: each.update(num_samples=1.5), r"num_samples cannot be '1.5'", "$.num_samples"),
    (lambda each: each.update(more=1), "more is not known", "$.more"),
    (lambda each: each.update(data=None), "data cannot be 'None'", "$.data"),
    (lambda each: each.update(dense=[]), r"dense cannot be '\[\]'", "$.dense"),
    (lambda each: each.update(classes={}), r"classes cannot be '\{\}'", "$.classes"),
    (lambda each: each["classes"][3].pop("words"), r"classes\[3\].words is missing", "$.classes[3].words"),
    (lambda each: each["input"].update(normalize=0), "input.normalize cannot be '0'", "$.input.normalize"),
    (lambda each: each["input"].update(mean="none"), "input.mean cannot be 'none'", "$.input.mean"),
    (
        lambda each: each["protocols"]["centre"]["top1"].update(error=None),
        r"protocols\['centre'\].top1.error cannot be 'None'",
        "$.protocols.centre.top1.error",
    ),
    (
        lambda each: each["training"]["net 1"]["train"][2].pop("loss"),
        r"training\['net 1'\].train\[2\].loss is missing",
        "$.training.net 1.train[2].loss",
    ),
    (
        lambda each: each["data"]["splits"]["val"]["images_a_class"].append("one"),
        r"data.splits\['val'\].images_a_class\[12\] cannot be 'one'",
        "$.data.splits.val.images_a_class[12]",
    ),
]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    report = made_up_report()
    for each in (report, replace(report, neighbours=None, data=replace(report.data, pixels=None), training={})):
        (tmp_path / "report.json").write_text(to_text(each))
        assert read_report(tmp_path / "report.json") == each
        assert to_text(read_report(tmp_path / "report.json")) == to_text(each)


def test_a_report_from_before_the_version_is_read(tmp_path: Path) -> None:
    old = content()
    assert next(iter(old)) == "version" and old.pop("version") == 1
    (tmp_path / "report.json").write_text(json.dumps(old, indent=1))
    assert read_report(tmp_path / "report.json") == made_up_report()


@pytest.mark.parametrize(("spoil", "why", "place"), SPOILT)
def test_what_is_no_report_is_refused_with_file_field_and_cure(
    spoil: Callable[[dict[str, Any]], Any], why: str, place: str, tmp_path: Path
) -> None:
    spoilt = content()
    spoil(spoilt)
    (tmp_path / "report.json").write_text(json.dumps(spoilt))
    with pytest.raises(ValueError, match=rf"report\.json cannot be read \({why}\): evaluate again"):
        read_report(tmp_path / "report.json")
    assert broken(spoilt, json_schema(Report)) == [place], "the schema for other languages says the same"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"version": []}', "[" * 100_000, '{"split": NaN}'])
def test_what_is_no_json_is_refused_too(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match=r"report\.json cannot be read \((.|\n)*\): evaluate again"):
        read_report(tmp_path / "report.json")


def test_no_number_that_is_none_is_written_or_read() -> None:
    calibration = replace(made_up_report().protocols["centre"].calibration, ece=float("nan"))
    with pytest.raises(ValueError, match="Out of range"):
        to_text(calibration)
    spoilt = re.sub(r'"ece": [^,]+,', '"ece": Infinity,', to_text(made_up_report()))
    with pytest.raises(ValueError, match=r"calibration\.ece cannot be 'inf'"):
        from_text(spoilt, Report, "report.json", "evaluate again")


def test_the_schema_in_the_docs_is_that_of_the_code_and_of_a_report() -> None:
    assert FILE.read_text() == text(), "python -m imagefeed.jobs.report.json_schema"
    assert broken(content(), json.loads(FILE.read_text())) == []


def test_a_comparison_is_written_and_read_likewise(tmp_path: Path) -> None:
    one, other = (read_evaluation(write_evaluation(tmp_path / name, seed)) for name, seed in (("one", 3), ("two", 6)))
    found = comparison(one, other)
    assert from_text(to_text(found), Comparison, "compare.json", "compare again") == found
    assert broken(json.loads(to_text(found)), json_schema(Comparison)) == []


@pytest.mark.parametrize(
    ("protocols", "first"),
    [(("centre", "ten-crop"), "ten-crop"), (("dense", "centre"), "dense"), (("centre",), "centre")],
)
def test_ten_crops_stand_at_the_top_where_there_are_any(protocols: tuple[str, ...], first: str) -> None:
    assert headline(protocols) == headline(dict.fromkeys(protocols)) == first
