"""Several datasets joined are what one dataset of all their samples would be: classes, ids, statistics, shards."""

import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagefeed import concat, mix
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.joined import united
from imagefeed.pipeline.dataset.manifest import MEAN_IMAGE, Class
from imagefeed.pipeline.files.cache import GB, CacheOptions
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.object_store import StorageOptions
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.loader.dataset import Dataset, JoinedDataset, open_dataset
from imagefeed.pipeline.loader.options import LoaderOptions, order_of
from imagefeed.pipeline.sampling.residency import DRIFT
from tests.dataset.test_remote import BY_SHARDS, CHEAP, FAST, kept, shard_requests
from tests.dataset.test_split import edit_manifest
from tests.loader.test_loader import ids, rows
from tests.support.pictures import encoded, picture
from tests.support.servers import FileServer, always, file_server
from tests.support.threads import SOON

pytestmark = pytest.mark.usefixtures("leaves_no_thread")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where indexes of shards of others go."""
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def pair(shards: Path, more: Path) -> list[Dataset]:
    """28 samples of ant, bee and cat in tars, and 11 of ape, bee and dog in betons."""
    return [open_dataset(shards / "tar" / "train"), open_dataset(more / "beton" / "train")]


def bare(folder: Path, to: Path) -> Path:
    """The shards of a split alone, as others would give them."""
    to.mkdir()
    for shard in folder.glob("shard-*"):
        shutil.copy(shard, to)
    return to


# Samples


def test_samples_are_those_of_the_first_and_then_of_the_second(pair: list[Dataset]) -> None:
    both = concat(pair)
    assert len(both) == 28 + 11 and both.sizes_known
    past = int(pair[0].columns.id.max()) + 1
    assert past == 29  # one image was refused, and its id stays its own
    expected = [(0, id, row) for row, id in enumerate(pair[0].columns.id.tolist())]
    expected += [(1, past + id, row) for row, id in enumerate(pair[1].columns.id.tolist())]
    addresses, maps = both.payload_addresses(np.arange(len(both)))
    for row, (number, id, own_row) in enumerate(expected):
        part = pair[number]
        (address,), held = part.payload_addresses(np.array([own_row]))
        size = int(part.columns.size[own_row])
        assert both.columns.id[row] == id and both.columns.size[row] == size
        assert bytes_at(addresses[row], size).tobytes() == bytes_at(address, size).tobytes() and held and maps
        for name in ("height", "width", "kind", "xxh3", "offset"):
            assert getattr(both.columns, name)[row] == getattr(part.columns, name)[own_row]
        assert both.name(row) == part.name(own_row)
        assert both.classes[both.columns.label[row]].wnid == part.classes[part.columns.label[own_row]].wnid
    assert both.columns.id.dtype == np.int64 and both.columns.label.dtype == both.columns.shard.dtype == np.int32


def test_classes_are_those_of_all_in_their_order(pair: list[Dataset]) -> None:
    assert [each.wnid for each in concat(pair).classes] == ["ant", "ape", "bee", "cat", "dog"]
    assert concat(pair[:1]).classes == pair[0].classes


WORDS = {"n1": ("one", "first"), "n2": ("two", "second")}


@pytest.mark.parametrize(
    ("parts", "together"),
    [
        (["b a", "b a"], "b a"),  # a list that somebody ordered stays
        (["b a", "a b"], "a b"),
        (["2 10", "2 10 11"], "2 10 11"),  # numbers, and no text, which has 10 before 2
        (["a c", "b", "c d"], "a b c d"),
        (["a"], "a"),
    ],
)
def test_classes_are_united_by_their_key(parts: list[str], together: str) -> None:
    classes = [tuple(Class(wnid, f"{wnid} of {number}") for wnid in part.split()) for number, part in enumerate(parts)]
    found = united(classes, [""] * len(parts))
    assert [each.wnid for each in found] == together.split()
    for each in found:  # of several names the first is kept
        assert each.words == f"{each.wnid} of {min(n for n, part in enumerate(parts) if each.wnid in part.split())}"


def test_numbers_and_names_do_not_go_together() -> None:
    named, numbered = (Class("ant", "ant"),), (Class("0", "0"), Class("1", "1"))
    with pytest.raises(ValueError, match=r"classes of /y are numbers and those of /x are names: .*classes\.txt"):
        united([named, numbered], ["/x", "/y"])


def test_joining_is_associative_and_one_alone_stays_as_it_is(pair: list[Dataset], shards: Path) -> None:
    a, b, c = *pair, open_dataset(shards / "beton" / "val")
    left, right, flat = concat([concat([a, b]), c]), concat([a, concat([b, c])]), concat([a, b, c])
    for other in (left, right):
        assert other.classes == flat.classes and other.statistics == flat.statistics
        for found, expected in zip(other.columns, flat.columns, strict=True):
            assert found.tolist() == expected.tolist()
        assert [other.name(row) for row in range(len(other))] == [flat.name(row) for row in range(len(flat))]
    alone = concat([a])
    assert all(map(np.array_equal, alone.columns, a.columns)) and np.array_equal(alone.mean_image, a.mean_image)
    assert alone.statistics == a.statistics and alone.classes == a.classes


def test_a_copy_in_another_process_is_the_same(pair: list[Dataset]) -> None:
    for dataset in (concat(pair), mix(pair, [1, 2], 30)):
        content = pickle.dumps(dataset)
        other = pickle.loads(content)  # noqa: S301
        assert len(content) < 1000  # no table: it is read again there
        assert isinstance(other, JoinedDataset) and other == dataset and repr(other) == repr(dataset)
        assert rows(other.loader(**CHEAP)) == rows(dataset.loader(**CHEAP))


@pytest.mark.parametrize("format", ["tar", "beton"])
@pytest.mark.usefixtures("home")
def test_shards_of_others_join_with_our_own(shards: Path, more: Path, tmp_path: Path, format: str) -> None:
    """A tar tells no sizes before it is read, so then all are scaled: of 256x256 to what they are."""
    folder = bare(more / format / "train", tmp_path / "bare")
    a, ours = open_dataset(shards / "tar" / "train"), open_dataset(more / format / "train")
    with pytest.raises(ValueError, match=r"the classes of .*bare are numbers and those of .*classes\.txt beside"):
        concat([a, open_dataset(folder)])
    (folder / "classes.txt").write_text("ape\nbee\ndog\n")
    others = open_dataset(folder)
    joined, expected = concat([a, others]), concat([a, ours])
    assert others.manifest.is_index and joined.classes[2] == a.classes[1] and len(joined.classes) == 5
    assert joined.sizes_known == (format == "beton") and expected.sizes_known

    def seen(dataset: JoinedDataset) -> list[tuple[int, bytes]]:
        """Label and pixels, whatever the ids: those of shards of others are places in the shards."""
        return sorted(row[1:] for row in rows(dataset.loader(recipe="eval", **CHEAP)))

    assert seen(joined) == seen(expected)
    with pytest.raises(ValueError, match=r"bare has no statistics of its pixels, so concat.* `statistics`"):
        joined.loader()
    assert len(rows(joined.loader(statistics=a.path, batch_size=20))) == 39


# Statistics


@pytest.mark.parametrize("resize", ["paper", "short:80"])
def test_statistics_are_those_of_one_conversion_of_both(
    images: Path, more_images: Path, tmp_path: Path, resize: Any
) -> None:
    both = tmp_path / "both"
    for source in (images, more_images):
        shutil.copytree(source / "train", both / "train", dirs_exist_ok=True)
    datasets = []
    for name, source in (("a", images), ("b", more_images), ("both", both)):
        convert(source, tmp_path / "out" / name, ConvertOptions(resize=resize))
        datasets.append(open_dataset(tmp_path / "out" / name / "train"))
    joined, whole = concat(datasets[:2]), datasets[2]
    assert joined.statistics == whole.statistics  # to the last digit
    assert joined.has_statistics and joined.has_mean_image == whole.has_mean_image == (resize == "paper")
    if whole.has_mean_image:
        assert np.array_equal(joined.mean_image, whole.mean_image) and joined.mean_image.dtype == np.float32
        assert np.array_equal(joined.pixel_sums, whole.pixel_sums)
        return
    with pytest.raises(ValueError, match=r"concat\(.*\) has no mean image: its images are of several sizes"):
        _ = joined.mean_image


def test_sums_are_had_back_from_a_mean_exactly(shards: Path, tmp_path: Path) -> None:
    count = 2_000_003
    sums = np.random.default_rng(0).integers(0, 255 * count, (40, 40, 3))
    copy = Path(shutil.copytree(shards / "tar" / "train", tmp_path / "train"))
    np.save(copy / MEAN_IMAGE, sums / count)
    edit_manifest(copy, lambda manifest: manifest["files"].update({MEAN_IMAGE: file_sha256(copy / MEAN_IMAGE)}))
    opened = open_dataset(copy)
    large = replace(opened, manifest=replace(opened.manifest, num_samples=count))
    assert np.array_equal(large.pixel_sums, sums)


@pytest.mark.parametrize("sizes", [((256, 256), (240, 240)), ((250, 240), (240, 250))])
def test_mean_images_of_two_sizes_are_none(tmp_path: Path, sizes: tuple) -> None:
    parts = []
    for name, size in zip("ab", sizes, strict=True):
        (tmp_path / name / "train" / "ant").mkdir(parents=True)
        for number in range(3):
            (tmp_path / name / "train" / "ant" / f"{number}.jpg").write_bytes(encoded(picture(number, *size)))
        convert(tmp_path / name, tmp_path / "out" / name, ConvertOptions(resize="short:256", one_class=True))
        parts.append(open_dataset(tmp_path / "out" / name / "train"))
    joined = concat(parts)
    assert all(part.has_mean_image for part in parts) and not joined.has_mean_image
    (batch,) = joined.loader(batch_size=6)  # a mean of each channel
    assert batch.valid.all()


def test_validation_data_are_seen_with_the_statistics_of_all_training_data(shards: Path, more: Path) -> None:
    val, train = (open_dataset(shards / "tar" / split) for split in ("val", "train"))
    other = open_dataset(more / "tar" / "train")
    assert concat([train, other]).statistics_source().statistics == concat([train, other]).statistics
    assert concat([val, other]).statistics_source().statistics == concat([train, other]).statistics
    assert concat([train, val]).statistics_source().statistics == train.statistics  # that of both, once
    assert rows(concat([val]).loader(recipe="eval")) == rows(val.loader(recipe="eval"))


# Errors


REFUSED: list[tuple[Callable[[list[Dataset]], object], type[Exception], str]] = [
    (lambda pair: concat([]), ValueError, "no datasets to join: give at least one"),
    (lambda pair: concat(pair[0]), TypeError, "concat takes a list of datasets"),  # type: ignore[arg-type]
    (lambda pair: concat("train"), TypeError, "concat takes a list of datasets"),  # type: ignore[arg-type]
    (lambda pair: concat([*pair, "train"]), TypeError, "'train': open it with open_dataset first"),  # type: ignore[list-item]
    (lambda pair: concat([mix(pair, [1, 1])]), ValueError, "cannot be joined with others again: join its parts"),
    (lambda pair: mix([mix(pair, [1, 1]), pair[0]], [1, 1]), ValueError, "cannot be joined with others again"),
    (lambda pair: mix(pair, [1]), ValueError, r"one for each of the 2 datasets, not \[1\]"),
    (lambda pair: mix(pair, [1, 0]), ValueError, "weights must be positive"),
    (lambda pair: mix(pair, [1, -1]), ValueError, "weights must be positive"),
    (lambda pair: mix(pair, [1, float("nan")]), TypeError, "weights must be a row of numbers"),
    (lambda pair: mix(pair, [1, float("inf")]), TypeError, "weights must be a row of numbers"),
    (lambda pair: mix(pair, 0.5), TypeError, "weights must be a row of numbers"),  # type: ignore[arg-type]
    (lambda pair: mix(pair, [1, 1], 0), ValueError, "num_samples must be .*at least 1"),
    (lambda pair: mix(pair, [1, 1], 1.5), TypeError, "num_samples must be"),  # type: ignore[arg-type]
    (lambda pair: mix(pair, [1000, 1], 20), ValueError, "0 of the 20 samples of an epoch would come from the 11 of"),
    (lambda pair: mix(pair, [1, 1], 2**30), ValueError, "other weights or another num_samples"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_does_not_go_together_is_refused(pair: list[Dataset], number: int) -> None:
    join, error, words = REFUSED[number]
    with pytest.raises(error, match=words):
        join(pair)


def test_ids_that_do_not_fit_are_refused(pair: list[Dataset]) -> None:
    large = open_dataset(pair[0].path)
    vars(large)["columns"] = large.columns._replace(id=large.columns.id + (2**62))
    assert len(concat([large])) == 28
    with pytest.raises(ValueError, match="do not fit into 63 bits"):
        concat([large, large])


def test_a_damaged_table_is_an_error_at_once(shards: Path, pair: list[Dataset], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shards / "tar" / "train", tmp_path / "train"))
    edit_manifest(copy, lambda manifest: manifest["files"].update({"samples.parquet": "0" * 64}))
    with pytest.raises(ValueError, match=r"train/samples\.parquet was altered"):
        concat([pair[0], open_dataset(copy)])


def test_they_say_what_they_are(pair: list[Dataset]) -> None:
    a, b = (str(part.path) for part in pair)
    assert repr(concat(pair)) == f"JoinedDataset(concat({a}, {b}): 39 samples of 5 classes)"
    assert repr(mix(pair, [1, 2], 60)) == (
        f"JoinedDataset(mix(20 from the 28 of {a}, 40 from the 11 of {b}, each 3.64 times on average): 60 samples "
        "an epoch of 5 classes)"
    )
    assert mix(pair, [1, 2], 60).called != mix(pair, [2, 1], 60).called != concat(pair).called


# Elsewhere


@pytest.fixture(scope="module")
def small(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 training images in 15 shards."""
    out = tmp_path_factory.mktemp("small")
    convert(images, out, ConvertOptions(shard_size=2))
    return out / "train"


def remote(server: FileServer, folder: Path, num_bytes: float = GB) -> Dataset:
    cache = CacheOptions(folder=folder, gigabytes=num_bytes / GB, patience=5)
    return open_dataset(f"{server.url}/train", cache=cache, storage=FAST)


@pytest.mark.parametrize("shuffle", [True, False, "shards"])
def test_datasets_here_and_elsewhere_give_what_all_give_here(
    small: Path, more: Path, tmp_path: Path, shuffle: Any
) -> None:
    here = open_dataset(more / "tar" / "train")
    options = {**CHEAP, "shuffle": shuffle, "seed": 5} | ({"shuffle_shards": 3} if shuffle == "shards" else {})
    with file_server(small.parent) as server:
        joined = concat([here, remote(server, tmp_path), here])
        loader, expected = joined.loader(**options), concat([here, open_dataset(small), here]).loader(**options)
        for _ in range(2):
            assert rows(loader) == rows(expected)
        assert set(shard_requests(server).values()) == {1} and len(shard_requests(server)) == 15


def test_two_parts_elsewhere_share_one_cache(small: Path, more: Path, tmp_path: Path) -> None:
    """Its room is counted for both together, and what lies here needs none."""
    here = open_dataset(more / "tar" / "train")
    with file_server(small.parent) as one, file_server(more / "beton") as two:

        def joined(num_bytes: float) -> JoinedDataset:
            return concat([remote(one, tmp_path, num_bytes), here, remote(two, tmp_path, num_bytes)])

        local = concat([open_dataset(small), here, open_dataset(more / "beton" / "train")])
        loader = local.loader(**BY_SHARDS)
        assert joined(GB).elsewhere.tolist() == [True] * 15 + [False] * 4 + [True] * 4
        least = peak_elsewhere(joined(GB))
        assert least < 0.8 * sum(
            path.stat().st_size for path in [*small.glob("shard*"), *(more / "beton").rglob("sh*")]
        )
        with pytest.raises(ValueError, match=r"too small for concat\(.* needs .* GB at once"):
            joined(least * 0.95).loader(**BY_SHARDS)
        fetched = joined(least).loader(**BY_SHARDS)
        for _ in range(2):
            found = []
            for batch in fetched:
                found += rows([batch])
                assert kept(tmp_path) <= least
            assert found == rows(loader)
        by_default = {name: value for name, value in BY_SHARDS.items() if name != "shuffle"}
        assert ids(joined(least).loader(**by_default)) == ids(local.loader(**BY_SHARDS))
        enough = int(local.shard_bytes[joined(GB).elsewhere].sum())  # though not for what lies here as well
        assert ids(joined(enough).loader(**by_default)) == ids(local.loader(**CHEAP, seed=7))


def peak_elsewhere(dataset: JoinedDataset, num_epochs: int = 2) -> int:
    """The least cache, bytes, for the first epochs of a loader: counted batch by batch."""
    options, most = LoaderOptions(**BY_SHARDS), 0
    for epoch in range(num_epochs):
        shards = dataset.columns.shard[order_of(dataset, options, options.seed, epoch)]
        here = np.zeros(200, np.int64)
        for shard in np.unique(shards[dataset.elsewhere[shards]]):
            batches = np.flatnonzero(shards == shard) // options.batch_size
            here[batches[0] : batches[-1] + options.prefetch + DRIFT + 1] += dataset.shard_bytes[shard]
        most = max(most, int(here.max()))
    return most


def test_leaving_early_does_not_wait_for_a_stalled_server(small: Path, more: Path, tmp_path: Path) -> None:
    with file_server(small.parent) as server:
        server.fault = always("stall")
        storage = StorageOptions(timeout=0.5, attempts=100)
        there = open_dataset(f"{server.url}/train", cache=CacheOptions(folder=tmp_path), storage=storage)
        epoch = iter(concat([open_dataset(more / "tar" / "train"), there]).loader(**BY_SHARDS))
        deadline = time.monotonic() + SOON
        while "shard-00001.tar" not in server.requests:
            assert time.monotonic() < deadline, "the shard elsewhere was never asked for"
            time.sleep(0.01)
        epoch.close()
        del epoch  # and no thread stays, says `leaves_no_thread`


def test_two_caches_are_refused(small: Path, tmp_path: Path) -> None:
    with file_server(small.parent) as server:
        first = remote(server, tmp_path / "a")
        for other in (remote(server, tmp_path / "b"), remote(server, tmp_path / "a", GB / 2)):
            with pytest.raises(ValueError, match="kept in two caches: open them with the same `cache`"):
                concat([first, other])
        assert len(concat([first, remote(server, tmp_path / "a")])) == 56


def test_a_mix_elsewhere_is_that_of_here_and_goes_by_shards(small: Path, more: Path, tmp_path: Path) -> None:
    other = open_dataset(more / "tar" / "train")
    with file_server(small.parent) as server:
        parts = ([remote(server, tmp_path), other], [open_dataset(small), other])
        there, here = (mix(each, [1, 1], 60).loader(**BY_SHARDS) for each in parts)
        for _ in range(2):
            found = rows(there)
            assert found == rows(here) and len(found) == 60
    rows_of = {id: row for row, id in enumerate(here.dataset.columns.id.tolist())}
    shards = [int(here.dataset.columns.shard[rows_of[id]]) for id, _, _ in found]
    spans = [(shards.index(each), len(shards) - shards[::-1].index(each)) for each in set(shards)]
    at_once = [sum(first <= at < end for first, end in spans) for at in range(60)]
    assert len(spans) == 15 + 4 and max(at_once) == BY_SHARDS["shuffle_shards"]
