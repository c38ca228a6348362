"""A manifest survives its file, the example in the documentation is one, and everything else is refused by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from imagefeed.pipeline.dataset.manifest import MANIFEST, Manifest, missing, splits_in

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "format.md"


def example() -> str:
    return DOCUMENT.read_text().split("```json\n")[1].split("```")[0]


def test_the_documented_example_is_a_manifest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(example())
    manifest = Manifest.load(tmp_path)
    assert manifest.num_samples == sum(shard.num_samples for shard in manifest.shards) == 399
    assert manifest.classes[1].words == "bullfrog, Rana catesbeiana"
    assert manifest.statistics is not None and manifest.statistics.cross[0][1] == 505214345216
    assert json.loads(manifest.to_json()) == json.loads(example())


def test_saving_and_loading_is_the_identity(shards: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(shards / "beton" / "train")
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert (tmp_path / MANIFEST).read_bytes() == (shards / "beton" / "train" / MANIFEST).read_bytes()
    replace(manifest, num_samples=0).save(tmp_path)
    assert Manifest.load(tmp_path) != manifest


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: text.replace('"imagefeed": 1', '"imagefeed": 2'),
        lambda text: text.replace('"num_samples": 399', '"number": 399'),
        lambda text: text.replace('"digest"', '"digestive"'),
        lambda text: "[]",
    ],
    ids=["cut", "version", "missing", "unknown", "list"],
)
def test_what_is_no_manifest_is_refused_with_its_name(damage, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(damage(example()))
    with pytest.raises(ValueError, match=f"{tmp_path / MANIFEST} is not a manifest.*convert the source again"):
        Manifest.load(tmp_path)


def test_a_folder_that_is_no_split_says_what_it_is(shards: Path, tmp_path: Path) -> None:
    assert splits_in(shards) == ["beton/train", "beton/val", "tar/train", "tar/val"]
    with pytest.raises(FileNotFoundError, match=f"open one of .*{shards}/tar/val"):
        Manifest.load(shards)
    with pytest.raises(FileNotFoundError, match="its conversion has not finished; run it again"):
        Manifest.load(tmp_path)
    assert missing(tmp_path / "nowhere").endswith("nowhere: no such folder")


def test_the_order_of_classes_is_said_where_it_is_not_the_alphabets(shards: Path, tmp_path: Path) -> None:
    """So the bytes of all others are as they were, and those from before open."""
    manifest = Manifest.load(shards / "tar" / "train")
    assert manifest.class_order == "" and "class_order" not in manifest.to_json()
    replace(manifest, class_order="natural").save(tmp_path)
    assert Manifest.load(tmp_path).class_order == "natural"
    with pytest.raises(ValueError, match="class_order"):
        Manifest.parse(manifest.to_json().replace('"digest"', '"class_order": "odd", "digest"').encode(), MANIFEST)


def test_a_manifest_from_before_codes_could_be_chosen_says_what_they_were(shards: Path) -> None:
    record = json.loads((shards / "tar" / "train" / MANIFEST).read_text())
    for name in ("sampling", "huffman"):
        del record["storage"][name]
    storage = Manifest.parse(json.dumps(record).encode(), MANIFEST).storage
    assert storage is not None and (storage.sampling, storage.huffman) == ("4:2:0", "standard")
