"""The splits of a folder of tars that Megatron Energon has prepared: `.nv-meta/split.yaml`, or `split.json`.

    split_parts:
      train:
      - shards/{000..007}.tar
      val: []
    exclude: []

The shards themselves are WebDataset's. Of YAML that much is read and no more.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.input_folder import InputFolder
from imagefeed.pipeline.files.text import decode_text, lines_of
from imagefeed.pipeline.files.wildcards import braces
from imagefeed.pipeline.sources.split_names import SPLITS

YAML, JSON = ".nv-meta/split.yaml", ".nv-meta/split.json"
LINE = re.compile(r"(?P<indent> *)(?:(?P<dash>- +)|(?P<key>[^\s:#'\"-][^:#]*):(?: +|$))?(?P<value>[^#]*?) *(?:#.*)?")


def energon_parts(origin: InputFolder, files: pa.Table) -> dict[str, pa.Table] | None:
    """The shards among `files` (`FILES`) by split; None where Energon has written no splits.

    Raises `ValueError` for a shard that is missing, single samples that are left out, and what cannot be read.
    """
    found = read_splits(origin)
    if found is None:
        return None
    name, parts, excluded = found
    if samples := [each for each in excluded if "/" in each.partition(".tar")[2]]:
        raise ValueError(
            f"{name} leaves out single samples, such as {samples[0]}: take them out of the shard, or the line"
        )
    there = set(files["name"].to_pylist())
    splits: dict[str, pa.Table] = {}
    for part, shards in parts.items():
        if part.lower() not in SPLITS:
            raise ValueError(f"{name} has a split {part}: call it train, val or test, or name its tars with a pattern")
        split = SPLITS[part.lower()]
        wanted = [each for each in shards if each not in excluded]
        if missing := [each for each in wanted if each not in there]:
            raise ValueError(f"{origin.path(missing[0])} is missing, which {name} names: restore it")
        if wanted:
            splits[split] = files.filter(pc.is_in(files["name"], value_set=pa.array(wanted, pa.string())))
    if not splits:
        raise ValueError(f"{name} names no shard: prepare the dataset again")
    return dict(sorted(splits.items()))


def read_splits(origin: InputFolder) -> tuple[str, dict[str, list[str]], set[str]] | None:
    """The file of splits, the shards of each, and what is left out; None where there is no such file."""
    for file in (YAML, JSON):
        try:
            content = origin.read(file)
        except FileNotFoundError:
            continue
        name = origin.path(file)
        try:
            found = json.loads(content) if file == JSON else parse_yaml(decode_text(content, name))
            parts = {
                str(part): [each for shard in shards for each in braces(shard)]
                for part, shards in found["split_parts"].items()
            }
            return name, parts, {each for one in found.get("exclude") or () for each in braces(one)}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{name} is not as Energon writes it ({error}): prepare the dataset again, or name its tars"
            ) from error
    return None


def parse_yaml(text: str) -> Mapping[str, Any]:
    """Lists of text by one or two keys. Raises `ValueError` with the line that is something else."""
    found: dict = {}
    holder: dict = found
    key = ""
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip() or line.lstrip().startswith("#") or line == "---":
            continue
        parts = LINE.fullmatch(line)
        if parts is None or (parts["dash"] is None and parts["key"] is None):
            raise ValueError(f"line {number}: {line!r}")
        value = parts["value"]
        if parts["dash"]:
            if not key or not isinstance(holder.setdefault(key, []), list) or value[:1] in ("", *"&*!|>{[%@`-"):
                raise ValueError(f"line {number}: {line!r}")
            holder[key].append(unquoted(value))
            continue
        if not parts["indent"]:
            holder = found
        elif holder is found:
            holder = found[key] = {}
        key = unquoted(parts["key"])
        if value == "[]":
            holder[key] = []
        elif value:
            raise ValueError(f"line {number}: {line!r}")
    return found


def unquoted(text: str) -> str:
    """Text without the quotes around it."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
    return text
