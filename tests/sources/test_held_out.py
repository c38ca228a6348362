"""A validation split from the training images: of each class its share, the same ones wherever and whenever."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.sources.held_out import held_out, key_hash, with_val
from imagefeed.pipeline.sources.open_source import open_source
from tests.convert.test_convert import contents


def slowly(keys: list[str], labels: list[int], fraction: float) -> set[str]:
    """The twin: class by class, in Python's own arithmetic."""
    held: set[str] = set()
    for label in set(labels):
        of_class = sorted((key for key, its in zip(keys, labels, strict=True) if its == label), key=key_hash)
        held.update(of_class[: min(int(fraction * len(of_class) + 0.5), len(of_class) - 1)])
    return held


@given(
    st.lists(st.tuples(st.text(), st.integers(0, 5)), min_size=1, max_size=60, unique_by=lambda each: each[0]),
    st.floats(0.001, 0.999),
    st.randoms(use_true_random=False),
)
def test_each_class_gives_its_share_in_any_order(rows: list[tuple[str, int]], fraction: float, random) -> None:
    keys, labels = [key for key, _ in rows], [label for _, label in rows]
    held = held_out(keys, np.array(labels), fraction)
    chosen = {key for key, out in zip(keys, held.tolist(), strict=True) if out}
    assert chosen == slowly(keys, labels, fraction)
    for label in set(labels):  # train keeps an image of each
        assert not held[np.array(labels) == label].all()
    random.shuffle(rows)
    again = held_out([key for key, _ in rows], np.array([label for _, label in rows]), fraction)
    assert {key for (key, _), out in zip(rows, again.tolist(), strict=True) if out} == chosen


def test_the_hash_is_for_ever() -> None:
    """Another one would make other splits of the same images."""
    assert [key_hash(key) for key in ("", "ant/000", "caf\u00e9", "\udcff")] == HASHES


HASHES = [13020603013274838756, 17651316765190978906, 16417751708935026519, 10502126616487800487]


def test_a_conversion_has_both_splits_and_no_image_twice(images: Path, tmp_path: Path, capsys) -> None:
    options = ConvertOptions(shard_size=7, splits=("train",), val_fraction=0.25)
    made = convert(images, tmp_path / "out", options)
    assert {path.name: manifest.num_samples + manifest.num_quarantined for path, manifest in made.items()} == {
        "train": 22,
        "val": 7,
    }
    said = capsys.readouterr().err
    assert "train 22 and val 7 images of 3 classes" in said
    assert "val: 0.25 of the images of each class of train, chosen by a hash of their keys\n" in said
    train, val = (open_dataset(tmp_path / "out" / name) for name in ("train", "val"))
    assert train.classes == val.classes and np.bincount(val.targets).tolist() == [3, 2, 2]
    whole = set(open_source(images).splits["train"]["key"].to_pylist())
    keys = [set(each.samples["key"].to_pylist()) for each in (train, val)]
    assert not keys[0] & keys[1] and keys[0] | keys[1] < whole
    convert(images, tmp_path / "again", options)
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    with pytest.raises(FileExistsError, match=r"made from 22 images, and now there are 2. \(.*--val-fraction\)"):
        convert(images, tmp_path / "out", ConvertOptions(shard_size=7, splits=("train",), val_fraction=0.1))


def test_labels_and_fields_stay_with_their_images(images: Path) -> None:
    source = open_source(images, reading=ConvertOptions(splits=("train",)))
    parts = with_val(source, 0.3).splits
    joined = pa.concat_tables([parts["train"], parts["val"]]).sort_by("key").combine_chunks()
    assert joined.equals(source.splits["train"])
    for part in parts.values():
        assert pc.all(pc.equal(pc.sort_indices(part["key"]), pa.array(np.arange(len(part)), pa.uint64()))).as_py()


def test_what_cannot_be_held_out_is_refused(images: Path, tmp_path: Path) -> None:
    source = open_source(images)
    with pytest.raises(ValueError, match="has a split val of its own: leave out --val-fraction, or take --splits"):
        convert(images, tmp_path, ConvertOptions(val_fraction=0.1))
    with pytest.raises(ValueError, match="has no split train to take --val-fraction of"):
        with_val(replace(source, splits={"test": source.splits["val"]}), 0.1)
    with pytest.raises(ValueError, match=r"no class has so many images that 0\.01 of them were one"):
        convert(images, tmp_path, ConvertOptions(splits=("train",), val_fraction=0.01))
    for fraction in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="choose a share between 0 and 1"):
            ConvertOptions(val_fraction=fraction)
