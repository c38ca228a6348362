"""Joined and mixed datasets keep the laws of a loader: known pixels, known order, any ranks and threads, any stop."""

import multiprocessing
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagefeed import Augmenter, JoinedDataset, LoaderOptions, concat, mix, open_dataset, to_device
from imagefeed.pipeline.loader.dataset import Dataset
from tests.loader.test_loader import CHEAP, ids, rows
from tests.loader.test_transformed import run
from tests.support import reference
from tests.support.threads import SOON

pytestmark = pytest.mark.usefixtures("leaves_no_thread")
SHARES = (15, 45)  # of the 28 and of the 11: a half of one, four times the other


@pytest.fixture(scope="module")
def pair(shards: Path, more: Path) -> list[Dataset]:
    """28 samples of ant, bee and cat in tars, and 11 of ape, bee and dog in betons."""
    return [open_dataset(shards / "tar" / "train"), open_dataset(more / "beton" / "train")]


@pytest.fixture(scope="module")
def both(pair: list[Dataset]) -> JoinedDataset:
    return concat(pair)


@pytest.fixture(scope="module")
def mixed(pair: list[Dataset]) -> JoinedDataset:
    dataset = mix(pair, weights=[1, 3], num_samples=60)
    assert dataset.mixture is not None and dataset.mixture.shares == SHARES
    return dataset


def twin(dataset: JoinedDataset, sample_id: int, epoch: int, **options: Any) -> torch.Tensor:
    """What a loader must give for a sample, from the part that has it: the id alone is another one."""
    past = int(dataset.parts[0].columns.id.max()) + 1
    number, own = (0, sample_id) if sample_id < past else (1, sample_id - past)
    part = dataset.parts[number]
    assert isinstance(part, Dataset)
    row = part.columns.id.tolist().index(own)
    return reference.sample_image(part, row, dataset, epoch, sample_id=sample_id, **options)


# Pixels and order


@pytest.mark.parametrize("recipe", ["alexnet", "alexnet-2012", "resnet", "ten-crop"])
def test_joined_images_are_those_of_the_slow_twin(both: JoinedDataset, recipe: Any) -> None:
    options: dict[str, Any] = {"recipe": recipe, "seed": 11, "crop_size": 96}
    loader, place = both.loader(batch_size=13, shuffle=True, **options), 0
    for epoch in range(2):
        for batch in loader:
            for i in range(13):
                expected = twin(both, int(batch.sample_ids[i]), epoch, place=place % 39, **options)
                assert torch.equal(batch.images[i], expected)
                place += 1


def test_their_order_is_that_of_one_dataset(both: JoinedDataset) -> None:
    expected = reference.epoch_ids(both.columns.id.tolist(), seed=5, epoch=0)
    assert ids(both.loader(batch_size=7, seed=5, **CHEAP)) == expected


def test_unshuffled_they_are_those_of_one_dataset_and_then_of_the_other(
    both: JoinedDataset, pair: list[Dataset]
) -> None:
    expected = []
    for part, past in zip(pair, (0, 29), strict=True):
        for sample_id, label, pixels in rows(part.loader(recipe="eval", **CHEAP)):
            wnids = [each.wnid for each in both.classes]
            expected.append((past + sample_id, wnids.index(part.classes[label].wnid), pixels))
    assert rows(both.loader(recipe="eval", **CHEAP)) == expected


def slow_mix(dataset: JoinedDataset, seed: int, epoch: int) -> list[tuple[int, int]]:
    """(id, turn) of an epoch of `mixed`, in order: by walking around each part's ring."""
    entries, table = [], dataset.columns.id.tolist()
    for part, share in zip((table[:28], table[28:]), SHARES, strict=True):
        ring = sorted(part, key=lambda each: reference.draw(seed, 0, each, 9)[:2])
        turns: Counter[int] = Counter()
        for step in range(epoch * share, (epoch + 1) * share):
            each = ring[step % len(ring)]
            entries.append((each, turns[each]))
            turns[each] += 1
    return sorted(entries, key=lambda entry: reference.order_key(seed, epoch, *entry))


def test_a_mix_gives_what_the_slow_twin_gives_with_another_crop_each_time(mixed: JoinedDataset) -> None:
    options: dict[str, Any] = {"seed": 3, "crop_size": 96}
    loader, crops = mixed.loader(batch_size=20, **options), set()
    for epoch in range(3):
        batches = list(loader)
        assert len(batches) == len(loader) == 3 and all(batch.valid.all() for batch in batches)
        images = torch.cat([batch.images for batch in batches])
        for image, id, (expected_id, turn) in zip(images, ids(batches), slow_mix(mixed, 3, epoch), strict=True):
            assert id == expected_id
            assert torch.equal(image, twin(mixed, id, epoch, turn=turn, **options))
            crops.add(image.numpy().tobytes())
    assert len(crops) == 3 * 60


def test_every_epoch_has_the_shares_and_no_sample_comes_again_before_all_have_come(mixed: JoinedDataset) -> None:
    loader, total = mixed.loader(batch_size=9, **CHEAP), Counter[int]()
    for epoch in range(4):
        came = Counter(ids(loader))
        total += came
        for counts, epochs in ((came, 1), (total, epoch + 1)):
            for part, share in zip((slice(0, 28), slice(28, 39)), SHARES, strict=True):
                times = [counts[each] for each in mixed.columns.id[part].tolist()]
                assert sum(times) == share * epochs and max(times) - min(times) <= 1


def test_a_mix_by_size_is_the_joined_dataset_shuffled(pair: list[Dataset], both: JoinedDataset) -> None:
    mixed = mix(pair, [28, 11])
    assert rows(mixed.loader(**CHEAP)) == rows(both.loader(**CHEAP))


def test_a_joined_dataset_may_be_a_part_of_a_mix(pair: list[Dataset], both: JoinedDataset) -> None:
    mixed = mix([both, pair[1]], [2, 1], 60)
    assert mixed.columns.id.tolist() == concat([*pair, pair[1]]).columns.id.tolist()
    came = Counter(ids(mixed.loader(**CHEAP)))
    first = [came[each] for each in mixed.columns.id[:39].tolist()]
    assert sum(first) == 40 and set(first) == {1, 2} and sum(came.values()) == 60


# Any ranks, any threads, any stop


@pytest.fixture(scope="module")
def known(both: JoinedDataset, mixed: JoinedDataset) -> dict[str, list[list[tuple[int, int, bytes]]]]:
    """Two epochs of each, in order, from the plainest loader."""
    plain = {"batch_size": 1, "num_threads": 1, "prefetch": 1, "seed": 4, "dtype": "uint8", "layout": "NHWC"}
    loaders = {name: dataset.loader(**plain) for name, dataset in (("both", both), ("mixed", mixed))}  # type: ignore[arg-type]
    return {name: [rows(loader) for _ in range(2)] for name, loader in loaders.items()}


RANKS = st.tuples(st.integers(1, 23), st.integers(1, 3), st.integers(1, 4))  # batch size, world size, threads


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["both", "mixed"]), before=RANKS, after=RANKS, stop=st.integers(0, 60))
def test_batches_are_the_same_for_any_ranks_and_threads_before_and_after_any_stop(
    both: JoinedDataset, mixed: JoinedDataset, known: dict, name: str, before: tuple, after: tuple, stop: int
) -> None:
    dataset = {"both": both, "mixed": mixed}[name]

    def ranks(seed: int, batch_size: int, world_size: int, num_threads: int) -> list[Any]:
        options: dict[str, Any] = {"dtype": "uint8", "layout": "NHWC", "num_threads": num_threads, "seed": seed}
        return [
            dataset.loader(batch_size=batch_size, rank=rank, world_size=world_size, **options)
            for rank in range(world_size)
        ]

    first, seen = ranks(4, *before), []
    iterators = [iter(rank) for rank in first]
    for _ in range(min(stop, len(first[0]))):
        seen += [row for iterator in iterators for row in rows([next(iterator)])]
    state = first[0].state_dict()
    assert set(state) == {"seed", "epoch", "position"} and all(rank.state_dict() == state for rank in first)
    second = ranks(0, *after)
    for rank in second:
        rank.load_state_dict(state)
        rank.set_epoch(0)
    epochs = [[row for step in zip(*second, strict=True) for row in rows(step)] for _ in range(2)]
    assert [seen + epochs[0], epochs[1]] == known[name]


def read(dataset: JoinedDataset, found: Any) -> None:
    """What another process does with a dataset that it is given."""
    found.put(rows(dataset.loader(seed=4, **CHEAP)))


def test_a_spawned_process_gives_the_same(mixed: JoinedDataset, known: dict) -> None:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=read, args=(mixed, found))
    process.start()
    assert found.get(timeout=6 * SOON) == known["mixed"][0]
    process.join(SOON)
    assert process.exitcode == 0


def test_a_state_beyond_the_epoch_names_the_mix(mixed: JoinedDataset, pair: list[Dataset]) -> None:
    state = {"seed": 0, "epoch": 0, "position": 50}
    mixed.loader(**CHEAP).load_state_dict(state)
    other = mix(pair, [1, 3], 40).loader(**CHEAP)
    with pytest.raises(ValueError, match=r"beyond the 40 samples of an epoch of mix\(10 from the 28 of .*another"):
        other.load_state_dict(state)


# What goes with them, and what does not


@pytest.mark.parametrize("recipe", ["alexnet", "resnet"])
def test_normalizing_on_the_device_gives_the_same(both: JoinedDataset, recipe: Any) -> None:
    options: dict[str, Any] = {"recipe": recipe, "batch_size": 20, "layout": "NHWC"}
    finished = to_device(both.loader(dtype="uint8", **options), "cpu", finish="float32")
    for found, expected in zip(finished, both.loader(dtype="float32", **options), strict=True):
        assert all(torch.equal(*parts) for parts in zip(found, expected, strict=True))


def test_a_mix_goes_to_a_device_as_it_is(mixed: JoinedDataset) -> None:
    assert rows(to_device(mixed.loader(**CHEAP), "cpu")) == rows(mixed.loader(**CHEAP))
    with pytest.raises(ValueError, match="in one crop_size, and of no mix"):
        to_device(mixed.loader(**CHEAP), "cpu", finish="float32")


def test_the_augmentation_alone_knows_joined_datasets(both: JoinedDataset, pair: list[Dataset]) -> None:
    images = np.stack([reference.stored_image(pair[1], row) for row in range(3)])
    sample_ids = both.columns.id[28:31]
    found = Augmenter(both, LoaderOptions(crop_size=96))(images, sample_ids, epoch=1)
    for image, id in zip(found, sample_ids.tolist(), strict=True):
        assert torch.equal(image, twin(both, id, 1, crop_size=96))


def test_a_joined_dataset_takes_subsets_and_balances_over_all_parts(both: JoinedDataset) -> None:
    wanted = both.columns.id[[3, 30, 35]].tolist()
    assert sorted(ids(both.loader(sample_ids=wanted, **CHEAP))) == wanted
    labels = [label for _, label, _ in rows(both.loader(per_class=4, **CHEAP))]
    assert Counter(labels) == dict.fromkeys(range(5), 4)


def test_a_sample_is_that_of_its_part(both: JoinedDataset, mixed: JoinedDataset, pair: list[Dataset]) -> None:
    assert both.class_to_idx == {"ant": 0, "ape": 1, "bee": 2, "cat": 3, "dog": 4}
    for dataset in (both, mixed):  # in the table of a mix every sample stands once
        samples = list(dataset)
        assert [label for _, label in samples] == dataset.targets and len(samples) == len(dataset) == 39
        for row, (number, own) in {0: (0, 0), 27: (0, 27), 28: (1, 0), -1: (1, 10)}.items():
            image, label = pair[number][own]
            assert torch.equal(dataset[row].image, image)
            assert dataset.classes[dataset[row].label].wnid == pair[number].classes[label].wnid
        page = dataset._repr_html_()
        assert page.count("<img") == 8 and repr(dataset) in page


def test_pairs_are_the_rows_of_the_batches(mixed: JoinedDataset) -> None:
    images, labels = zip(*mixed.loader(batch_size=25, **CHEAP).pairs(), strict=True)
    expected = rows(mixed.loader(batch_size=25, **CHEAP))
    assert torch.cat(labels).tolist() == [label for _, label, _ in expected]
    assert torch.cat(images).numpy().tobytes() == b"".join(pixels for _, _, pixels in expected)


def test_a_transform_in_python_sees_each_part_and_draws_anew_each_time(shards: Path, tmp_path: Path) -> None:
    run(
        """
from imagefeed import concat, mix
from imagefeed.pipeline.loader.transformed import seed_all
from imagefeed.random import OWN, draw
for dataset in (concat([train, train]), mix([train, train], [1, 3], 80)):
    loaders = [dataset.loader(transform=noisy, batch_size=9, seed=3, num_threads=n) for n in (1, 2)]
    plain = dataset.loader(batch_size=9, seed=3)
    for epoch in range(2):
        one, two, expected = ([list(batch) for batch in loader] for loader in (*loaders, plain))
        found = []
        for a, b, c in zip(one, two, expected):
            assert all(torch.equal(*both) for both in (*zip(a, b), *zip(a[1:], c[1:])))
            found += [(int(i), image) for image, i, valid in zip(a[0], a[2], a[3]) if valid]
        made = {}
        for i, image in found:
            made.setdefault(i, []).append(image)
        for i, images in made.items():
            row = dataset.columns.id.tolist().index(i)
            for turn in range(len(images)):
                seed_all([int(word) for word in draw(np.uint64(3), epoch, i, OWN, turn)])
                expected_image = noisy(dataset[row].image)
                assert sum(torch.equal(image, expected_image) for image in images) == 1
    assert len(found) == (56 if dataset.mixture is None else 80)
""",
        shards / "tar" / "train",
        tmp_path,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 2}, "per_class and sample_ids choose samples, which a mix does by weight"),
        ({"sample_ids": [1, 2]}, "per_class and sample_ids choose samples"),
        ({"shuffle": False}, "a mix draws at random: it needs shuffle=True, or a recipe that shuffles"),
        ({"recipe": "eval"}, "a mix draws at random"),
    ],
)
def test_options_that_leave_a_mix_nothing_to_do_are_refused(mixed: JoinedDataset, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixed.loader(**options)
    assert len(ids(mixed.loader(recipe="eval", shuffle=True, **CHEAP))) == 60


@pytest.mark.parametrize("name", ["both", "mixed"])
def test_damage_names_shard_and_sample_of_the_part(pair: list[Dataset], name: str, tmp_path: Path) -> None:
    copy = open_dataset(shutil.copytree(pair[1].path, tmp_path / "train"))
    shard = copy.path / copy.manifest.shards[copy.columns.shard[4]].name
    data = bytearray(shard.read_bytes())
    data[int(copy.columns.offset[4]) + 500] ^= 255
    shard.write_bytes(data)
    dataset = concat([pair[0], copy]) if name == "both" else mix([pair[0], copy], [1, 1], 60)
    with pytest.raises(ValueError, match=f"{shard}: sample 4 \\(.*\\): its bytes are not those"):
        list(dataset.loader(**CHEAP))
