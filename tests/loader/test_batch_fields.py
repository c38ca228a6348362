"""Fields follow their samples, from any kind of source into any batch: each is looked up in the source by its id."""

import copy
import math
import multiprocessing
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from imagefeed.pipeline.checks.summary import numbers
from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.repack import repack
from imagefeed.pipeline.dataset.fields import concatenated
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset, concat, mix, open_dataset
from imagefeed.pipeline.loader.device import to_device
from tests.loader.test_on_error import spoil
from tests.support.field_sources import COUNTS, DAMAGED, FIELDS, NUM_TAGS, json_lines, key_of, parquet, values

CHEAP: dict[str, Any] = {"recipe": "alexnet", "dtype": "uint8", "crop_size": 16, "batch_size": 4, "num_threads": 2}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both formats, in shards of at most five."""
    folder = tmp_path_factory.mktemp("fields")
    source = parquet(folder / "source")
    convert(source, folder / "out", ConvertOptions(format="both", fields=FIELDS, shard_size=5))
    return folder / "out"


@pytest.fixture(scope="module", params=["tar", "beton"])
def train(out: Path, request: pytest.FixtureRequest) -> Dataset:
    return open_dataset(out / request.param / "train")


def same(found: Any, expected: Any) -> bool:
    """Whether two values or lists of values are the same; NaN is NaN."""
    if isinstance(found, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected or (found != found and expected != expected))


def fields_of(batch: Any, i: int, fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields of one row in Python's values."""
    return {
        name: value[i].tolist() if isinstance(value := getattr(batch, name), torch.Tensor) else value[i]
        for name in fields
    }


def twin(split: str, sample_id: int) -> dict[str, Any]:
    """The same from the source; the id is the place in the order of the keys, and -1 pads."""
    nan = math.nan
    if sample_id < 0:
        return {"score": nan, "age": -100, "tags": [0] * NUM_TAGS, "box": [nan] * 3, "caption": ""}
    found = values(split, sample_id)
    found["score"] = nan if found["score"] is None else found["score"]
    return found | {"tags": [int(tag in found["tags"]) for tag in range(NUM_TAGS)]}


def check(batches: Any, split: str = "train", fields: tuple[str, ...] = FIELDS) -> list[int]:
    """The ids of the batches, each row of which must be its sample's."""
    ids: list[int] = []
    for batch in batches:
        assert batch._fields == (*Batch._fields, *fields) and isinstance(batch, Batch)
        for i, sample_id in enumerate(batch.sample_ids.tolist()):
            found, expected = fields_of(batch, i, fields), twin(split, sample_id if batch.valid[i] else -1)
            for name in fields:
                assert same(found[name], expected[name]), (sample_id, name, found[name], expected[name])
        ids += batch.sample_ids.tolist()
    return ids


HOW: list[dict[str, Any]] = [
    {},
    {"shuffle": False},
    {"shuffle": "shards", "shuffle_shards": 2},
    {"per_class": 9},
    {"sample_ids": [1, 3, 7, 8, 20]},
    {"drop_last": True},
    {"recipe": "ten-crop", "batch_size": 30},
]


@pytest.mark.parametrize("how", HOW, ids=str)
def test_fields_follow_their_samples(train: Dataset, how: dict[str, Any]) -> None:
    loader, plain = train.loader(fields=FIELDS, **CHEAP | how), train.loader(**CHEAP | how)
    for _ in range(2):
        batches, others = list(loader), list(plain)
        check(batches)
        for batch, other in zip(batches, others, strict=True):  # and nothing else is touched
            assert type(other) is Batch
            assert all(torch.equal(one, two) for one, two in zip(batch[:4], other, strict=True))


def corner(image: torch.Tensor) -> torch.Tensor:
    """A transform in Python."""
    return image[:, :9, :9]


WAYS: list[dict[str, Any]] = [
    {"transform": corner, "batch_size": 4, "num_threads": 1},
    CHEAP,
    CHEAP | {"crop_size": lambda epoch: 8 + epoch},
]


@pytest.mark.parametrize("how", WAYS, ids=["python", "kernel", "growing"])
def test_a_sample_that_is_left_out_has_the_fields_of_padding(out: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    """By whichever way images are made."""
    whole = open_dataset(out / "tar" / "train")
    ids = whole.columns.id.tolist()
    loader = whole.loader(fields=FIELDS, **how)
    for _ in range(2):
        assert sorted(filter(real, check(loader))) == ids
    shutil.copytree(out / "tar", tmp_path / "data")
    train = open_dataset(tmp_path / "data" / "train")
    spoil(train, 11)
    with pytest.warns(RuntimeWarning, match=f"sample {ids[11]} "):
        batches: list[Any] = list(train.loader(fields=FIELDS, on_error="skip", **how))
    assert sorted(filter(real, check(batches))) == ids
    assert [int(batch.sample_ids[i]) for batch in batches for i in (~batch.valid).nonzero().flatten()].count(
        ids[11]
    ) == 1


def real(sample_id: int) -> bool:
    """Whether a row does not pad."""
    return sample_id >= 0


def test_pairs_have_fields_behind_the_labels_and_no_padding(train: Dataset) -> None:
    options = CHEAP | {"fields": ("caption", "tags")}
    loader, lengths = train.loader(**options), []
    for pairs in (train.loader(**options).pairs(), to_device(train.loader(**options), "cpu").pairs()):
        loader.set_epoch(0)
        for batch, (images, labels, caption, tags) in zip(loader, pairs, strict=True):
            row: Any = batch
            assert torch.equal(images, row.images[row.valid]) and torch.equal(labels, row.labels[row.valid])
            assert torch.equal(tags, row.tags[row.valid]) and caption == row.caption[: len(tags)]
            lengths.append(len(labels))
    assert lengths == 2 * [4, 4, 4, 4, 4, 2]


def test_each_field_has_its_type(train: Dataset) -> None:
    batch: Any = next(iter(train.loader(fields=FIELDS, **CHEAP)))
    assert (batch.score.dtype, batch.age.dtype, batch.age.shape) == (torch.float64, torch.int64, (4,))
    assert (batch.score.shape, batch.box.shape, batch.tags.shape) == ((4,), (4, 3), (4, NUM_TAGS))
    assert (batch.tags.dtype, batch.box.dtype, type(batch.caption)) == (torch.uint8, torch.float64, list)


def test_ranks_share_out_the_same_fields_and_the_last_batches_pad(train: Dataset) -> None:
    ids = [check(train.loader(fields=FIELDS, rank=rank, world_size=3, **CHEAP)) for rank in range(3)]
    assert sorted(each for of_rank in ids for each in of_rank if each >= 0) == train.columns.id.tolist()
    assert len({len(of_rank) for of_rank in ids}) == 1 and any(-1 in of_rank for of_rank in ids)


def test_a_resumed_epoch_goes_on_with_the_same_fields(train: Dataset) -> None:
    loader = train.loader(fields=("caption", "score"), seed=5, **CHEAP)
    whole = check(train.loader(fields=("caption", "score"), seed=5, **CHEAP), fields=("caption", "score"))
    epoch = iter(loader)
    first = check([next(epoch), next(epoch)], fields=("caption", "score"))
    resumed = pickle.loads(pickle.dumps(loader))  # noqa: S301
    assert first + check(resumed, fields=("caption", "score")) == whole


def test_the_splits_agree_on_the_width_of_tags(out: Path) -> None:
    widths = {split: open_dataset(out / "tar" / split).manifest.fields["tags"].size for split in COUNTS}
    assert widths == {"train": NUM_TAGS, "val": NUM_TAGS}
    check(open_dataset(out / "tar" / "val").loader(fields=FIELDS, **CHEAP), "val")


def test_without_fields_a_batch_is_as_ever(train: Dataset) -> None:
    for given in ({}, {"fields": None}, {"fields": ()}):
        assert type(next(iter(train.loader(**given, **CHEAP)))) is Batch


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            ("scroe",),
            ValueError,
            r"train has no field scroe \(did you mean score\?\): it has age, box, caption, score, tags",
        ),
        (("key",), ValueError, "train has no field key"),
        (("score", "score"), ValueError, "field score"),
        (("labels",), ValueError, "field labels"),
        ("score", TypeError, "fields must be one of a row of text, None, not 'score'"),
        ([1], TypeError, "fields must be one of a row of text"),
    ],
)
def test_a_field_that_is_not_there_is_refused(train: Dataset, given: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        train.loader(fields=given, **CHEAP)


def test_a_split_without_fields_says_so(shards: Path) -> None:
    with pytest.raises(ValueError, match="train has no field score: it has none"):
        open_dataset(shards / "tar" / "train").loader(fields=["score"], **CHEAP)


def test_a_batch_survives_pickling_and_copying(train: Dataset) -> None:
    batch = next(iter(train.loader(fields=FIELDS, **CHEAP)))
    pickled = pickle.loads(pickle.dumps(batch))  # noqa: S301
    for other in (pickled, copy.deepcopy(batch), batch._replace(valid=batch.valid)):
        assert type(other) is type(batch)
        assert check([other]) == batch.sample_ids.tolist()


class Stored(IterableDataset):
    """Batches that a worker hands over: it cannot read a loader itself."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataloader_hands_batches_on(train: Dataset, workers: int) -> None:
    """With a worker of its own interpreter, which makes the class of the batch anew."""
    batches = list(train.loader(fields=FIELDS, **CHEAP))
    context = multiprocessing.get_context("spawn") if workers else None
    loader = DataLoader(Stored(batches), batch_size=None, num_workers=workers, multiprocessing_context=context)
    assert check(loader) == check(batches)


def test_to_device_moves_tensors_and_keeps_text(train: Dataset) -> None:
    loader = train.loader(fields=FIELDS, **CHEAP)
    assert check(to_device(loader, "cpu")) == check(train.loader(fields=FIELDS, **CHEAP))
    moved: Any = next(iter(to_device(loader, "meta")))
    assert {each.device.type for each in moved[:-1]} == {"meta"} and isinstance(moved.caption, list)


def test_lightning_moves_them_alike(train: Dataset) -> None:
    utilities = pytest.importorskip("lightning.fabric.utilities", reason="lightning is not installed")
    loader = train.loader(fields=FIELDS, **CHEAP)
    assert check(utilities.move_data_to_device(each, torch.device("cpu")) for each in loader)
    moved: Any = utilities.move_data_to_device(next(iter(loader)), torch.device("meta"))
    assert {each.device.type for each in moved[:-1]} == {"meta"} and isinstance(moved.caption, list)


# On disk


def test_repacked_is_as_if_converted(out: Path, tmp_path: Path) -> None:
    pairs: list[tuple[Format, Format]] = [("tar", "beton"), ("beton", "tar")]
    for one, other in pairs:
        repack(open_dataset(out / one / "train"), tmp_path / other, other)
        for file in (out / other / "train").iterdir():
            assert (tmp_path / other / file.name).read_bytes() == file.read_bytes(), file


def test_a_dataset_of_ours_is_a_source_of_its_fields(out: Path, tmp_path: Path) -> None:
    """The ids are others there: the damaged image is not among them."""
    convert(out / "beton", tmp_path / "again", ConvertOptions(fields=("tags", "score")))
    found, expected = (open_dataset(each / "train").samples for each in (tmp_path / "again", out / "tar"))
    assert found.column_names[-2:] == ["score", "tags"]
    for name in ("key", "tags"):
        assert found[name].to_pylist() == expected[name].to_pylist()
    assert key_of(DAMAGED) not in found["key"].to_pylist()
    with pytest.raises(ValueError, match=r"has no field skore \(did you mean score\?\): it has age, box, caption"):
        convert(out / "beton", tmp_path / "none", ConvertOptions(fields=("skore",)))


def test_verify_and_inspect_know_fields(out: Path, tmp_path: Path) -> None:
    assert verify(open_dataset(out / "tar" / "train")) == []
    said = dict(numbers(open_dataset(out / "tar" / "train")))["fields"]
    assert said.startswith("age int64, box list<float64> of 3, caption string, ") and said.endswith(
        f"tags list<int64> of {NUM_TAGS}"
    )
    copy = Path(shutil.copytree(out / "tar" / "train", tmp_path / "train"))
    text = (copy / "manifest.json").read_text().replace(f'"size": {NUM_TAGS},', '"size": 2,')
    (copy / "manifest.json").write_text(text)
    (fault,) = verify(open_dataset(copy), quick=True)
    assert "field tags: a list has a number beyond 2" in fault
    (copy / "manifest.json").write_text(text.replace('"type": "string"', '"type": "int64"'))
    with pytest.raises(ValueError, match="has other columns than"):
        open_dataset(copy).columns  # noqa: B018


@pytest.mark.parametrize("how", [{}, {"shuffle": "shards", "shuffle_shards": 2}, {"rank": 1, "world_size": 2}])
def test_joined_datasets_have_the_fields_of_each_sample(out: Path, how: dict[str, Any]) -> None:
    train, val = open_dataset(out / "tar" / "train"), open_dataset(out / "beton" / "val")
    below = int(train.columns.id.max()) + 1
    for dataset in (concat([train, val]), mix([train, val], [1, 2], num_samples=60)):
        seen = 0
        for batch in dataset.loader(fields=FIELDS, **CHEAP | how):
            for i, sample_id in enumerate(batch.sample_ids.tolist()):
                split, own = ("val", sample_id - below) if sample_id >= below else ("train", sample_id)
                found, expected = fields_of(batch, i, FIELDS), twin(split, own)
                assert all(same(found[name], expected[name]) for name in FIELDS)
            seen += int(batch.valid.sum())
        num_samples = len(dataset) if dataset.mixture is None else 60
        assert abs(seen - num_samples / how.get("world_size", 1)) <= 4


def test_joined_datasets_must_agree_on_a_field(out: Path, tmp_path: Path) -> None:
    source = json_lines(tmp_path / "lines")
    convert(source, tmp_path / "out", ConvertOptions(fields=("age", "caption")))
    one, other = open_dataset(out / "tar" / "train"), open_dataset(tmp_path / "out" / "train")
    with pytest.raises(ValueError, match="has no field score"):
        concat([one, other]).loader(fields=["score"], **CHEAP)
    whole = concat([one, other])
    batches = whole.loader(fields=["age"], **CHEAP | {"shuffle": False})
    ages = [fields_of(batch, i, ("age",)) for batch in batches for i in range(len(batch.labels))]
    assert ages[: len(one)] == ages[len(one) : 2 * len(one)]
    columns = {name: one.fields([name])[name] for name in FIELDS}
    with pytest.raises(
        ValueError, match=r"field x is int64 of 1 in a and list<float64> of 3 in b: it must be the same"
    ):
        concatenated([columns["age"], columns["box"]], "x", ["a", "b"])
    tags = columns["tags"]
    wider = tags._replace(field=replace(tags.field, size=20))
    assert concatenated([tags, wider], "x", ["a", "b"]).field.size == 20
