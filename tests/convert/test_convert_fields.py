"""Fields through a conversion: the table has the source's values, and nothing else on disk is another for them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.dry_run import estimate
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.plan import plan_split
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.dataset.tables import SAMPLES_SCHEMA, read_samples
from imagefeed.pipeline.files.output_folder import LocalOutput
from imagefeed.pipeline.runtime.executors import processes, run_here
from imagefeed.pipeline.sources.image_table import SCHEMA
from imagefeed.pipeline.sources.open_source import open_source
from tests.convert.test_convert import contents
from tests.support.field_sources import COUNTS, DAMAGED, FIELDS, NUM_TAGS, SOURCES, json_lines, key_of, parquet, values

ROOT = Path(__file__).resolve().parents[2]
TYPES = {"score": "float64", "age": "int64", "tags": "list<int64>", "box": "list<float64>", "caption": "string"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return parquet(tmp_path_factory.mktemp("fields") / "source")


@pytest.mark.parametrize("kind", SOURCES)
def test_the_table_has_the_values_of_the_source(kind: str, tmp_path: Path) -> None:
    fields = ("score", "age", "caption") if kind in ("csv_file", "tsv_file") else FIELDS
    manifests = convert(
        SOURCES[kind](tmp_path / "source"), tmp_path / "out", ConvertOptions(fields=fields, shard_size=7)
    )
    for folder, manifest in manifests.items():
        assert {name: each.type for name, each in manifest.fields.items()} == {name: TYPES[name] for name in fields}
        assert {each.size for each in manifest.fields.values()} <= {None, NUM_TAGS, 3}
        rows = {row["key"].rpartition("/")[2]: row for row in read_samples(folder, manifest.fields).to_pylist()}
        known = {key_of(row): row for row in range(COUNTS[folder.name])}
        assert set(known) - set(rows) == ({key_of(DAMAGED)} if folder.name == "train" else set())
        for key, row in rows.items():
            found = {name: None if row[name] != row[name] else row[name] for name in fields}  # NaN
            expected = values(folder.name, known[key])
            assert found == {name: expected[name] for name in fields}


def test_fields_change_the_table_and_the_manifest_alone(source: str, tmp_path: Path) -> None:
    convert(source, tmp_path / "plain", ConvertOptions(shard_size=7))
    convert(source, tmp_path / "fields", ConvertOptions(shard_size=7, fields=("tags", "score")))
    plain, fields = contents(tmp_path / "plain"), contents(tmp_path / "fields")
    other = {name for name in plain if plain[name] != fields[name]}
    assert plain.keys() == fields.keys()
    assert other == {f"{split}/{name}" for split in COUNTS for name in ("manifest.json", "samples.parquet")}
    assert "fields" not in json.loads(plain["train/manifest.json"])
    assert pq.read_schema(tmp_path / "plain" / "train" / "samples.parquet").equals(SAMPLES_SCHEMA)
    two = [Manifest.load(tmp_path / each / "train") for each in ("plain", "fields")]
    assert replace(two[1], fields={}, digest=two[0].digest, files=two[0].files) == two[0]
    assert json.loads(fields["train/manifest.json"])["fields"] == {
        "score": {"size": None, "type": "float64"},
        "tags": {"size": NUM_TAGS, "type": "list<int64>"},
    }


@pytest.mark.parametrize(
    ("fields", "run"), [(("score", "tags"), processes(2)), (("tags,score",), run_here)], ids=["workers", "order"]
)
def test_the_same_bytes_from_any_workers_and_order_of_names(
    fields: tuple[str, ...], run: Any, source: str, tmp_path: Path
) -> None:
    for folder, how in (("one", ("score", "tags")), ("other", fields)):
        convert(
            source, tmp_path / folder, ConvertOptions(shard_size=7, fields=how), run_here if folder == "one" else run
        )
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_an_interrupted_conversion_goes_on_and_other_fields_are_another_split(source: str, tmp_path: Path) -> None:
    options = ConvertOptions(shard_size=7, fields=("caption",))
    convert(source, tmp_path / "whole", options)

    def two_tasks(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for number, task in enumerate(tasks):
            if number == 2:
                raise RuntimeError("the machine is gone")
            yield work(task)

    with pytest.raises(RuntimeError, match="gone"):
        convert(source, tmp_path / "out", options, two_tasks)
    convert(source, tmp_path / "out", options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    convert(source, tmp_path / "out", options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for other in ((), ("score",), ("caption", "score")):
        with pytest.raises(FileExistsError, match="made with other fields, caption and not .* \\(--fields\\)"):
            convert(source, tmp_path / "out", replace(options, fields=other))


def test_a_task_knows_nothing_of_fields(source: str, tmp_path: Path) -> None:
    """Texts of a whole dataset do not travel to the workers."""
    opened = open_source(source, FIELDS)
    split = plan_split(opened, "train", LocalOutput(tmp_path), ConvertOptions(fields=FIELDS, shard_size=7))
    assert {tuple(task.rows.column_names) for task in split.tasks()} == {tuple(SCHEMA.names)}


def test_another_value_is_another_split(tmp_path: Path) -> None:
    """Though the same files have the same images."""
    options, source = ConvertOptions(fields=("caption",)), json_lines(tmp_path / "source")
    convert(source, tmp_path / "out", options)
    file = tmp_path / "source" / "train.jsonl"
    file.write_text(file.read_text().replace("Bild 5,", "Bild 4,"))
    with pytest.raises(FileExistsError, match="train already holds a split made from another source"):
        convert(source, tmp_path / "out", options)


def test_a_part_of_the_images_has_its_own_values(source: str, tmp_path: Path) -> None:
    names = tuple(name for name in FIELDS if name != "score")
    convert(source, tmp_path, ConvertOptions(fields=names, limit=3, classes=("0", "2")))
    split = Split.open(tmp_path / "val")
    keys = [key_of(row) for row in range(COUNTS["val"])]
    assert len(split) == 3
    for row in split.samples.to_pylist():
        expected = values("val", keys.index(row["key"]))
        assert {name: row[name] for name in names} == {name: expected[name] for name in names}


def test_what_has_no_columns_or_lacks_one_is_refused_before_any_work(images: Path, source: str, tmp_path: Path) -> None:
    cases = {
        str(images): "a folder a class .* has no column score: it has none",
        str(images / "train"): "has no column score: it has none",
    }
    for where, message in cases.items():
        with pytest.raises(ValueError, match=message):
            convert(where, tmp_path / "out", ConvertOptions(fields=("score",)))
    convert(images, tmp_path / "betons", ConvertOptions(format="beton"))
    with pytest.raises(ValueError, match="train has no field score: it has none"):
        convert(tmp_path / "betons", tmp_path / "out", ConvertOptions(fields=("score",)))
    with pytest.raises(ValueError, match="has no column score: it has none"):
        convert(f"{tmp_path}/betons/train/*.beton", tmp_path / "out", ConvertOptions(fields=("score",)))
    for do in (convert, estimate):
        with pytest.raises(
            ValueError, match=r"parquet has no column skore \(did you mean score\?\): it has score, age, tags"
        ):
            do(source, tmp_path / "out", ConvertOptions(fields=("age", "skore")))
    (tmp_path / "train.txt").write_text("a.jpg 0\n")
    with pytest.raises(ValueError, match="train.txt has no column score: it has none"):
        convert(tmp_path / "train.txt", tmp_path / "out", ConvertOptions(fields=("score",)))
    assert not list((tmp_path / "out").rglob("*.json"))


@pytest.mark.parametrize("fields", [("label",), ("images",), ("a", "a"), ("a,,b",), ("a b",)])
def test_names_that_no_field_can_have(fields: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="^field "):
        ConvertOptions(fields=fields)


@pytest.mark.parametrize("given", [["score,tags"], ["score", "tags"]], ids=["commas", "words"])
def test_the_command_takes_names_apart(given: list[str], source: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imagefeed", "convert", source, str(tmp_path), "--limit", "2", "--workers", "1"]
    done = subprocess.run([*command, "--fields", *given], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "; fields score (float64), tags (list<int64>)" in done.stderr
    assert sorted(Manifest.load(tmp_path / "train").fields) == ["score", "tags"]
