"""The loaders of others feed what ours feeds, and where they would lose, alter or wait in silence there is an error."""

import shutil
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.interop.base import OtherLoader
from imagefeed.pipeline.interop.make_loader import make_loader
from imagefeed.pipeline.interop.threads import threads_unchanged
from imagefeed.pipeline.interop.webdataset_stages import Augment as MapStage
from imagefeed.pipeline.interop.webdataset_stages import Count, urls_of
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset, concat, open_dataset
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.loader.test_batch_fields import check, real
from tests.support.field_sources import FIELDS, parquet

OPTIONS: dict[str, Any] = {
    "recipe": "alexnet",
    "batch_size": 5,
    "seed": 3,
    "dtype": "float16",
    "layout": "NHWC",
    "num_threads": 2,
    "crop_size": 96,
}

# WebDataset leaves files to the garbage collector, FFCV uses what Python 3.12 complains of.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterable[None]:
    with pytest.MonkeyPatch.context() as patch, threads_unchanged():
        patch.setenv("IMAGEFEED_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def beton(shards: Path) -> Dataset:
    return open_dataset(shards / "beton" / "train")


@pytest.fixture(scope="module")
def tar(shards: Path) -> Dataset:
    return open_dataset(shards / "tar" / "train")


@pytest.fixture(scope="module")
def with_fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both formats of images with fields."""
    folder = tmp_path_factory.mktemp("fields")
    convert(parquet(folder / "source"), folder / "out", ConvertOptions(format="both", fields=FIELDS, shard_size=7))
    return folder / "out"


@pytest.mark.parametrize(("name", "format"), [("ffcv", "beton"), ("webdataset", "tar")])
def test_fields_are_those_of_our_own_loader(name: Any, format: str, with_fields: Path) -> None:
    dataset, options = open_dataset(with_fields / format / "train"), LoaderOptions(**OPTIONS, fields=FIELDS)
    ours, theirs = list(make_loader("imagefeed", dataset, options)), list(make_loader(name, dataset, options))
    assert check(theirs) and sorted(filter(real, check(theirs))) == sorted(filter(real, check(ours)))
    if name == "ffcv":  # which has our order, too
        assert check(theirs) == check(ours)


@pytest.fixture(scope="module")
def by_ffcv(beton: Dataset) -> OtherLoader:
    """Made once: FFCV compiles for seconds."""
    engine = make_loader("ffcv", beton, LoaderOptions(**OPTIONS))
    assert isinstance(engine, OtherLoader)
    return engine


def engine_of(name: Any, dataset: Dataset, **changes: Any) -> OtherLoader:
    engine = make_loader(name, dataset, LoaderOptions(**OPTIONS | changes))
    assert isinstance(engine, OtherLoader)
    return engine


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def by_id(batches: Iterable[Batch]) -> dict[int, tuple[torch.Tensor, int]]:
    """Image and label of each sample; none may come twice."""
    found = {}
    for images, labels, ids, valid in batches:
        for image, label, id, is_there in zip(images, labels.tolist(), ids.tolist(), valid.tolist(), strict=True):
            if is_there:
                assert id not in found
                found[id] = (image, label)
            else:
                assert (label, id) == (-100, -1) and not image.any()
    return found


def copy_of(dataset: Dataset, to: Path) -> tuple[Dataset, Path]:
    """A copy that may be damaged, and its second shard."""
    shutil.copytree(dataset.path, to)
    opened = open_dataset(to)
    return opened, to / opened.manifest.shards[1].name


def payload_in(dataset: Dataset, shard: int) -> int:
    """Where in a shard some image's bytes are."""
    row = int((dataset.columns.shard == shard).nonzero()[0][0])
    return int(dataset.columns.offset[row] + dataset.columns.size[row] // 2)


def flip(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 255]))


@pytest.mark.parametrize("name", ["ffcv", "webdataset"])
def test_joined_datasets_are_for_our_own_loader(name: Any, tar: Dataset, beton: Dataset) -> None:
    from imagefeed.pipeline.interop.ffcv_ops import Decode

    joined = concat([tar, beton])
    with pytest.raises(ValueError, match=rf"the loader {name} reads one dataset and concat\(.* use imagefeed's own"):
        make_loader(name, joined, LoaderOptions(**OPTIONS))
    with pytest.raises(ValueError, match="reads one dataset and concat"):
        (Decode if name == "ffcv" else urls_of)(joined)
    assert len(make_loader("imagefeed", joined, LoaderOptions(**OPTIONS))) == 12


# FFCV


@pytest.mark.parametrize("recipe", ["resnet", "ten-crop"])
@pytest.mark.parametrize("name", ["ffcv", "webdataset"])
def test_channels_last_is_the_same_view_everywhere(shards: Path, name: str, recipe: str) -> None:
    dataset = open_dataset(shards / {"ffcv": "beton", "webdataset": "tar"}[name] / "train")
    changes = {"layout": "channels_last", "recipe": recipe}
    ours, theirs = list(dataset.loader(**OPTIONS | changes)), list(engine_of(name, dataset, **changes))
    expected, found = by_id(ours), by_id(theirs)
    assert expected.keys() == found.keys()
    assert all(torch.equal(image, found[id][0]) for id, (image, _) in expected.items())
    assert {batch.images.stride() for batch in theirs} == {ours[0].images.stride()}
    assert not theirs[-1].valid.all()  # padded, and no other in memory for that


def test_ffcv_gives_our_batches_bit_for_bit(beton: Dataset, by_ffcv: OtherLoader) -> None:
    ours = beton.loader(**OPTIONS)
    assert len(by_ffcv) == len(ours) == 6
    threads = torch.get_num_threads()
    for _ in range(2):
        expected, found = list(ours), list(by_ffcv)  # kept: nothing is used again
        assert len(expected) == len(found)
        assert all(map(same, expected, found))
    assert torch.get_num_threads() == threads
    assert by_ffcv.state_dict() == ours.state_dict()


def test_ffcv_goes_on_in_the_middle_of_an_epoch(beton: Dataset, by_ffcv: OtherLoader) -> None:
    ours = beton.loader(**OPTIONS)
    ours.set_epoch(7)
    iterator = iter(ours)
    next(iterator), next(iterator)
    by_ffcv.load_state_dict(ours.state_dict())
    before = threading.active_count()
    partial = iter(by_ffcv)
    assert same(next(partial), next(iterator))
    del partial  # as `break` does: its thread ends
    assert threading.active_count() == before
    state = by_ffcv.state_dict()
    assert state == {"seed": 3, "epoch": 7, "position": 15} == ours.state_dict()
    by_ffcv.load_state_dict(state)
    rest = list(by_ffcv)
    assert len(rest) == 3 and all(map(same, rest, iterator))


def test_a_stock_ffcv_loader_takes_the_operation_and_ours_still_compiles(beton: Dataset, tmp_path: Path) -> None:
    from ffcv.fields.decoders import IntDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    from imagefeed.pipeline.interop.ffcv import in_one_file
    from imagefeed.pipeline.interop.ffcv_ops import Augment, Decode, beton_rows
    from imagefeed.pipeline.jit.clib import check_numba

    options = LoaderOptions(**OPTIONS | {"dtype": "float32", "layout": "NCHW"})
    augment = Augment(beton, options)
    pipelines = {"image": [Decode(beton), augment], "label": [IntDecoder(), ToTensor()]}
    loader = Loader(str(in_one_file(beton)), 5, 1, True, OrderOption.SEQUENTIAL, drop_last=False, pipelines=pipelines)
    check_numba()
    ours = beton.loader(**OPTIONS | {"dtype": "float32", "layout": "NCHW", "shuffle": False})
    ours.set_epoch(4)
    expected = by_id(ours)
    augment.begin(4)
    read = [(images, labels[:, 0].tolist()) for images, labels in loader]
    ids = beton.columns.id[beton_rows(beton)].tolist()
    images = torch.cat([images for images, _ in read])
    assert [label for _, labels in read for label in labels] == [expected[id][1] for id in ids]
    assert all(torch.equal(image, expected[id][0]) for image, id in zip(images, ids, strict=True))


def test_ffcv_names_what_is_damaged_at_once(beton: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path))
    damaged, shard = copy_of(beton, tmp_path / "train")
    flip(shard, payload_in(damaged, 1))
    engine = engine_of("ffcv", damaged)
    with pytest.raises(ValueError, match=r"shard-00001.beton: sample \d+ \(.*\): its bytes are not those"):
        list(engine)


def test_ffcv_forgotten_epochs_are_an_error(beton: Dataset, by_ffcv: OtherLoader) -> None:
    by_ffcv.set_epoch(0)
    list(by_ffcv)
    loader = by_ffcv._loader  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="epoch 0 is over: call begin"):
        list(loader.over(np.arange(5)))


def test_ffcv_gives_a_part_of_the_samples(beton: Dataset) -> None:
    options = OPTIONS | {"sample_ids": beton.columns.id[3:14]}
    expected, found = list(beton.loader(**options)), list(engine_of("ffcv", beton, **options))
    assert len(found) == 3 and all(map(same, expected, found))


# WebDataset


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize("num_threads", [1, 3])
def test_webdataset_gives_each_sample_once_with_our_pixels(tar: Dataset, num_threads: int) -> None:
    ours, theirs = tar.loader(**OPTIONS), engine_of("webdataset", tar, num_threads=num_threads)
    orders = []
    for _ in range(2):
        expected, batches = by_id(ours), list(theirs)
        assert len(batches) == len(theirs)
        found = by_id(batches)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[id][0], expected[id][0]) for id in found)
        assert all(found[id][1] == expected[id][1] for id in found)
        orders.append(list(found))
    assert orders[0] != orders[1] != sorted(orders[1])


def test_webdataset_ranks_share_an_epoch_and_end_together(tar: Dataset) -> None:
    ranks = [engine_of("webdataset", tar, rank=rank, world_size=3) for rank in range(3)]  # of 5 shards
    batches = [list(rank) for rank in ranks]
    assert {len(each) for each in batches} == {len(rank) for rank in ranks} == {4}
    assert len(by_id(batch for rank in batches for batch in rank)) == len(tar)


def test_webdataset_goes_on_where_it_was(tar: Dataset) -> None:
    first, whole = engine_of("webdataset", tar), list(engine_of("webdataset", tar))
    iterator = iter(first)
    for _ in range(3):
        next(iterator)
    later = engine_of("webdataset", tar)
    later.load_state_dict(first.state_dict())
    assert all(map(same, later, whole[3:]))
    assert later.state_dict() == {"seed": 3, "epoch": 1, "position": 0}
    other = engine_of("webdataset", tar, rank=1, world_size=2)
    other.load_state_dict(first.state_dict())
    with pytest.raises(ValueError, match="only on as many ranks as it stopped on"):
        next(iter(other))


def test_a_stock_webdataset_pipeline_takes_the_stages(tar: Dataset) -> None:
    pipeline = (
        webdataset.WebDataset(urls_of(tar), shardshuffle=4)
        .compose(Count(tar))
        .shuffle(10)
        .batched(5, collation_fn=list)
        .map(MapStage(tar, LoaderOptions(**OPTIONS), epoch=2))
    )
    ours = tar.loader(**OPTIONS)
    ours.set_epoch(2)
    expected, found = by_id(ours), by_id(pipeline)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[id][0], expected[id][0]) for id in found)


def member_at(shard: Path, number: int) -> int:
    """Where the header of a tar's member begins."""
    import tarfile

    with tarfile.open(shard) as tar:
        return tar.getmembers()[number].offset


@pytest.mark.parametrize("damage", ["cut at a member", "header", "cut in a header", "cut in a label", "payload"])
def test_what_webdataset_loses_in_silence_is_an_error(tar: Dataset, tmp_path: Path, damage: str) -> None:
    damaged, shard = copy_of(tar, tmp_path / "train")
    cuts = {"cut at a member": (6, 0), "cut in a header": (6, 100), "cut in a label": (7, 0)}
    number, beyond = cuts.get(damage, (6, 0))
    at = member_at(shard, number)
    if damage == "header":
        flip(shard, at + 20)
    elif damage == "payload":
        flip(shard, payload_in(damaged, 1))
    else:
        with open(shard, "r+b") as file:
            file.truncate(at + beyond)
    said = {
        "payload": r"shard-00001.tar: sample \d+ \(.*\): its bytes are not those",
        "cut in a label": r"shard-00001.tar: WebDataset lost the last \d samples|has no image",
    }.get(damage, r"shard-00001.tar: WebDataset lost the last \d samples")
    stock = [each["__key__"] for each in webdataset.WebDataset(urls_of(damaged), shardshuffle=False)]
    assert len(stock) < len(tar) or damage in ("payload", "cut in a label")  # it says nothing
    engine = engine_of("webdataset", damaged, num_threads=1)
    with pytest.raises(ValueError, match=said):
        list(engine)


# Both


def test_what_does_not_suit_is_refused(tar: Dataset, beton: Dataset) -> None:
    with pytest.raises(ValueError, match=r"is in betons and the loader webdataset reads tars: `imagefeed repack"):
        engine_of("webdataset", beton)
    with pytest.raises(ValueError, match="is in tars and the loader ffcv reads betons"):
        engine_of("ffcv", tar)
    with pytest.raises(ValueError, match="per_class is not for the loader webdataset"):
        engine_of("webdataset", tar, per_class=3)
    with pytest.raises(ValueError, match="sample_ids are not for the loader webdataset"):
        engine_of("webdataset", tar, sample_ids=[1])
    with pytest.raises(ValueError, match="has 5 shards for 6 ranks: convert with a smaller --shard-size"):
        engine_of("webdataset", tar, rank=0, world_size=6)
    with pytest.raises(ValueError, match="alexnet-2012 depends on the order of all samples"):
        engine_of("webdataset", tar, recipe="alexnet-2012")


def test_our_own_loader_imports_neither() -> None:
    import subprocess

    code = "import sys, imagefeed.pipeline.interop.make_loader; print({'ffcv', 'webdataset'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "set()\n"
